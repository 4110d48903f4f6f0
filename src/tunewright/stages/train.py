"""The one training loop. Knows no method and no objective by name."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import ProofBroken, RunError, Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.report import ProofResult, Report
from tunewright.core.run import Run
from tunewright.stages import encoded, proving, reference, retaining, tasks, tuned, watching
from tunewright.stages.on_policy import Player
from tunewright.stages.training_findings import findings

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.training.encoding import Encoded
    from tunewright.training.step import Look

TRAINED_BY = ("data", "model", "method", "objective", "train", "retention")  # sections that decide the result
VALIDATION_EXAMPLES = 1000  # more make the looks dear without making them surer
MAX_SKIPS = 3


@dataclass
class Progress:
    """What a checkpoint remembers beside weights and optimizer."""

    step: int = 0
    looked: int = -1  # the last step at which the validation loss was measured; 0 is the untuned start
    best_loss: float | None = None  # of all looks, the one before the first step included
    kept_step: int = 0  # the best look at trained weights: whose checkpoint is kept
    kept_loss: float | None = None
    kept_metrics: dict[str, float] = field(default_factory=dict)
    looks_without_gain: int = 0
    skips_in_a_row: int = 0
    skipped: list[int] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    finished: bool = False


def train(recipe: Recipe, run: Run) -> Report:
    """Tune the model of a frozen recipe, from the newest whole checkpoint on. Raises Stopped, ProofBroken, RunError."""
    from tunewright.models.hardware import threads

    with tuned.one_base(), threads(recipe.train.threads):
        return _train(recipe, run)


def _train(recipe: Recipe, run: Run) -> Report:
    if not any(run.path("checkpoints").glob("step-*")):
        proving.forget(run)  # nothing was saved, so the recipe may have changed since
    before = proving.before_training(recipe, run)
    if broken := [proof for proof in before if not proof.holds]:
        raise ProofBroken(
            f"Training was not started: {broken[0].claim} does not hold here ({broken[0].name}: measured "
            f"{broken[0].measured}, "
            f"bound {broken[0].bound})."
        )
    session = Session(recipe, run)
    session.resume()
    session.store_frozen()
    session.store_reference()
    session.kept = retaining.begin(recipe, run, session.model)
    session.run_steps()
    return session.report(before)


class Session:
    """One process's share of a training: everything the loop holds."""

    def __init__(self, recipe: Recipe, run: Run) -> None:
        from tunewright.training.keeping import Kept
        from tunewright.training.step import Stepper

        options = recipe.train
        assert options.max_tokens and options.batch and options.micro_tokens
        assert options.evaluate_every and options.save_every
        self.recipe, self.options, self.run = recipe, options, run
        self.method, self.objective = recipe.the_method(), recipe.the_objective()
        self.model = tuned.open_base(recipe, run, for_training=True)
        self.data = self._encoded("train", recipe)
        self.validation = self._encoded("validation", recipe)
        self.test = self._encoded("test", recipe)
        tuned.attach(recipe, self.model)
        proving.remember_frozen(run, self.model)
        self.watch = watching.Watch(recipe, run, self.model)
        self.stepper = Stepper(self.model, self.method, self.objective, options)
        self.player = Player(recipe, run, self.stepper, poll=self._stop_if_asked) if self.objective.on_policy else None
        self.sampler = tasks.sampler(recipe, run, self.data.units)
        by = recipe.data.mix.by if recipe.data.mix else None
        self.looked_at = tasks.parted(run, "validation", self.validation.units, by) if by else {}
        values = recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)  # a later key changes no run
        self.about = {
            "recipe": storage.digest({key: values[key] for key in TRAINED_BY if values.get(key)}),
            "training_data": storage.sha256(run.path("data", "train.jsonl")),
        }
        self.state = Progress()
        self.kept = Kept({})
        self.warnings: list[str] = []

    def _encoded(self, split: str, recipe: Recipe) -> Encoded:
        from tunewright.training.encoding import Encoded

        examples = self.run.split(split)
        unasked = split == "test" and (not self.objective.tested or any(map(self.objective.lacks, examples)))
        if unasked or not examples:
            return Encoded([], [], [])
        found = encoded.rows(recipe, self.run, split, self.model.chat)
        units: Sequence[list[Row]] = found
        if split != "train" and len(found) > VALIDATION_EXAMPLES:
            stride = len(found) / VALIDATION_EXAMPLES
            units = [found[int(i * stride)] for i in range(VALIDATION_EXAMPLES)]
        if split != "train":
            units = self.objective.drawn(units, self.data.units, seed=self.options.seed)
        return Encoded(units, found.unlearned, found.cut)

    # --- going on ---

    def resume(self) -> None:
        """Put back the newest whole checkpoint; cut ledger and events to it."""
        from tunewright.training import checkpoints

        found = checkpoints.newest(self.run.path("checkpoints"), about=self.about, warn=self._warn)
        if found is None:
            storage.keep_rows(self.run.path("ledger.jsonl"), lambda row: False)
            self._cut_events(-1)
            return
        tuned.put_back(self.recipe, self.model, found.model)
        checkpoints.load_optimizer(found, self.stepper.optimizer)
        self.state = Progress(**{key: found.state[key] for key in Progress.__dataclass_fields__})
        storage.keep_rows(self.run.path("ledger.jsonl"), lambda row: row["step"] <= self.state.step)
        self._cut_events(self.state.step)
        self.run.log("resume", step=self.state.step)

    def _cut_events(self, step: int) -> None:
        kinds = ("step", "skip", "validation", "alarm", "early_stop", "checkpoint", watching.EVENT)
        storage.keep_rows(self.run.path("events.jsonl"), lambda row: not (row["event"] in kinds and row["step"] > step))

    def _warn(self, message: str) -> None:
        self.warnings.append(message)
        self.run.log("warning", message=message)

    def store_frozen(self) -> None:
        """Compute what lies below the lowest trained layer once for all epochs, where the recipe says so."""
        from tunewright.training import frozen

        if not self.options.store_frozen or self.state.step == self.sampler.total:
            return
        assert self.options.micro_tokens is not None
        splits = (self.data.units, self.validation.units)

        def poll(done: int) -> None:
            self.run.stop_if_asked()
            self.run.log(
                "progress", stage="train", done=done, total=sum(map(len, splits)), what="storing frozen layers"
            )

        started = time.monotonic()
        stored = frozen.store(
            self.model, splits, micro_tokens=self.options.micro_tokens, folder=self.run.path("train"), poll=poll
        )
        if stored is None:
            self._warn("This model's layers hand on more than hidden states, so the frozen ones compute in each epoch.")
            return
        self.model.stored = stored
        seconds = time.monotonic() - started
        self.state.seconds += seconds
        self.run.log(
            "stored", layers=stored.below, tokens=stored.num_tokens, bytes=stored.num_bytes, seconds=round(seconds, 3)
        )

    def store_reference(self) -> None:
        """Put the model as this phase started at the objective's side, before the first step."""
        if self.objective.uses_reference:
            started = time.monotonic()
            splits = (self.data.units, self.validation.units, self.test.units)
            if self.player:  # its rows are yet to be made
                splits = ([], [], [])
            reference.put_on(self.model, self.recipe, self.run, splits, untouched=self.state.step == 0)
            self.state.seconds += time.monotonic() - started

    # --- the loop ---

    def run_steps(self) -> None:
        """Step, look, save, until the schedule ends, patience does, or a stop is asked for."""
        self.run.update(step=self.state.step, total=self.sampler.total)
        if self._due(self.options.evaluate_every) and self.state.looked < self.state.step:
            self._look()  # before the first step, or where a stop came between a step and its look
        while self.state.step < self.sampler.total and not self.state.finished:
            self._stop_if_asked()
            self._step()
            if self._due(self.options.evaluate_every):
                self._look()
            last = self.state.step == self.sampler.total or self.state.finished
            if last or self._due(self.options.save_every) or self.state.kept_step == self.state.step:
                self._save()

    def _due(self, every: int | None) -> bool:
        assert every is not None
        step = self.state.step
        return step % every == 0 or step == self.sampler.total or step in self._kept_ends()

    def _kept_ends(self) -> set[int]:
        """The steps that ended the last epochs whose checkpoints stay."""
        ends = range(self.sampler.per_epoch, self.state.step + 1, self.sampler.per_epoch)
        return set(ends[max(0, len(ends) - self.options.keep_epochs) :])

    def _step(self) -> None:
        from tunewright.training.sampler import draw_seed
        from tunewright.training.schedules import factor

        started = time.monotonic()
        state, options = self.state, self.options
        plan = self.sampler.step(state.step + 1)
        seed, gradients = draw_seed(options.seed, plan.number), self.kept.gradients(plan.number)
        units = self.objective.drawn([self.data.units[member] for member in plan.members], self.data.units, seed=seed)
        self.method.at(self.model.net, step=plan.number, total=self.sampler.total, per_epoch=self.sampler.per_epoch)
        rate = factor(options.schedule, plan.number, total=self.sampler.total, warmup=options.warmup)
        take = self.player.take if self.player else self.stepper.take
        result = take(units, factor=rate, seed=seed, gradients=gradients)
        state.step = plan.number
        ids = [unit[0].example for unit in units]
        entry = {"step": plan.number, "epoch": plan.epoch, "ids": ids, **self.kept.read}
        storage.append_jsonl(self.run.path("ledger.jsonl"), entry, point="ledger")
        seconds = time.monotonic() - started
        state.tokens += result.tokens
        state.seconds += seconds
        if not result.taken:
            self._skipped(plan.number, ids)
            return
        state.skips_in_a_row = 0
        assert options.lr is not None
        self.run.log(
            "step",
            step=plan.number,
            total=self.sampler.total,
            epoch=round(plan.number / self.sampler.per_epoch, 4),
            loss=result.loss,
            lr=options.lr * rate,
            tokens=result.tokens,
            forest_tokens=result.forest_tokens,
            learned_tokens=result.learned_tokens,
            grad_norm=result.grad_norm,
            seconds=round(seconds, 5),
            **result.metrics,
        )
        if plan.number % 20 == 0:
            self.run.update(step=plan.number, total=self.sampler.total)

    def _skipped(self, step: int, ids: list[str]) -> None:
        self.state.skips_in_a_row += 1
        self.state.skipped.append(step)
        self.run.log("skip", step=step, ids=ids, reason="loss or gradient is not finite")
        if self.state.skips_in_a_row >= MAX_SKIPS:
            raise RunError(
                f"Training stopped: the loss was not finite {MAX_SKIPS} steps in a row (step {step}, examples "
                f"{', '.join(ids[:3])} ...). "
                "The last good checkpoint is kept. Lower train.lr, or look at those examples; then start over "
                "with --fresh."
            )

    def _look(self) -> None:
        """Measure the validation loss; remember the best; stop when patience ends."""
        state = self.state
        self.watch.look(state.step, self._stop_if_asked)
        if not self.validation.units:
            state.kept_step = state.step
            return
        found = self.player.look(self.validation.units) if self.player else self._looked_at(self.validation.units)
        loss = found.loss
        state.looked = state.step
        measured = math.isfinite(loss)
        if state.step and measured and (state.kept_loss is None or loss < state.kept_loss):
            state.kept_step, state.kept_loss, state.kept_metrics = state.step, loss, found.metrics
        better = measured and (state.best_loss is None or loss < state.best_loss)
        if better:
            state.best_loss, state.looks_without_gain = loss, 0
        else:
            state.looks_without_gain += 1
            if state.looks_without_gain == 2:
                self.run.log("alarm", step=state.step, what="validation loss rises while training goes on", loss=loss)
        self.run.log("validation", step=state.step, loss=loss, best=better, **found.metrics)
        if self.options.patience and state.looks_without_gain >= self.options.patience:
            state.finished = True
            self.run.log("early_stop", step=state.step, best_step=state.kept_step)

    def _looked_at(self, units: Sequence[Sequence[Row]]) -> Look:
        """Loss and metrics over examples; with several tasks, the loss of each too."""
        from tunewright.training.step import joined, look

        assert self.options.micro_tokens is not None
        options: dict[str, Any] = {"micro_tokens": self.options.micro_tokens, "poll": self._stop_if_asked}
        if not self.looked_at:
            return look(self.model, self.objective, units, **options)
        return joined({name: look(self.model, self.objective, own, **options) for name, own in self.looked_at.items()})

    def _stop_if_asked(self) -> None:
        try:
            self.run.stop_if_asked()
        except Stopped:
            self._save()
            raise

    def _save(self) -> None:
        from tunewright.training import checkpoints

        if (ledger := self.run.path("ledger.jsonl")).exists():
            storage.sync(ledger)  # a checkpoint never knows of steps that the ledger could lose
        if self.state.step in (self.state.kept_step, self.sampler.total) or self.state.finished:
            self.objective.settle(self.model, self.data.units, micro_tokens=self.options.micro_tokens or 0)
        checkpoints.save(
            self.run.path("checkpoints"),
            method=self.method,
            net=self.model.net,
            optimizer=self.stepper.optimizer,
            state={**vars(self.state), "per_epoch": self.sampler.per_epoch},
            about=self.about,
            keep={self.state.kept_step, *self._kept_ends()},
        )
        self.run.log("checkpoint", step=self.state.step)

    # --- what came of it ---

    def report(self, before: list[ProofResult]) -> Report:
        """Figures, findings and the proofs that need the trained weights."""
        from tunewright.models import cuda_attention

        state = self.state
        self.model.stored = None  # its file goes with it
        best = self._best_checkpoint()
        numbers: dict[str, Any] = {
            "checkpoint": f"step-{best:06d}",
            "steps": state.step,
            "planned_steps": self.sampler.total,
            "best_step": best,
            "validation_loss": state.kept_loss,
            "examples": len(self.data.units),
            "validation_examples": len(self.validation.units),
            "tokens": state.tokens,
            "training_seconds": round(state.seconds, 2),
            "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9), 1),
            "trainable_parameters": sum(p.numel() for p in self.stepper.parameters),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            * (1 if sys.platform == "darwin" else 1024),
            "skipped_steps": state.skipped,
            **self._metrics(best),
            **self.watch.numbers(),
            "attention": cuda_attention.record(),
        }
        after = proving.after_training(
            self.recipe, self.run, self.run.path("checkpoints", numbers["checkpoint"], "model")
        )
        told = findings(
            warnings=self.warnings,
            step=state.step,
            best_step=best,
            never_better=state.kept_loss is not None and state.kept_loss != state.best_loss,
            early=state.finished,
            looks_without_gain=state.looks_without_gain,
            unlearned=self.data.unlearned,
            cut=self.data.cut,
            skipped=state.skipped,
            rewarded=self.player is not None,
        )
        return Report(stage="train", run=self.run.name, numbers=numbers, findings=told, proofs=[*before, *after])

    def _metrics(self, best: int) -> dict[str, Any]:
        """The objective's own figures of the checkpoint that is kept, on validation and test rows."""
        from tunewright.training.step import look

        assert self.options.micro_tokens is not None
        found = {"validation": self.state.kept_metrics}
        if self.test.units:
            if best != self.state.step:
                tuned.put_back(self.recipe, self.model, self.run.path("checkpoints", f"step-{best:06d}", "model"))
            units, micro_tokens = self.test.units, self.options.micro_tokens
            poll = self.run.stop_if_asked
            found["test"] = look(self.model, self.objective, units, micro_tokens=micro_tokens, poll=poll).metrics
        found = {split: metrics for split, metrics in found.items() if metrics}
        return {"metrics": found, "test_examples": len(self.test.units)} if found else {}

    def _best_checkpoint(self) -> int:
        """The step whose weights are kept: the best look's; the last where there was none, or its files are damaged."""
        best = self.state.kept_step
        if best in (0, self.state.step):
            return self.state.step
        if wrong := storage.damage(self.run.path("checkpoints", f"step-{best:06d}")):
            self._warn(f"Checkpoint step-{best:06d}, the best one, is damaged ({wrong}); the last one is used.")
            return self.state.step
        return best
