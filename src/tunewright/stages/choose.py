"""Stage choose: fill what the recipe leaves open, each value with its reason, and freeze the recipe for training."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tunewright.core import canaries, catalog, storage
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example
from tunewright.core.parts import Method, Objective
from tunewright.core.recipe import Recipe, TrainOptions, default_reasons
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.stages import defaults, fitting, learning_curve, preview, rewards, suited, tasks, tuned, unusual, vaults
from tunewright.stages.train import VALIDATION_EXAMPLES
from tunewright.stages.trying import try_later_stages

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.estimate import Estimate, ModelFacts
    from tunewright.models.forest import Row
    from tunewright.models.hardware import Hardware

SAMPLE_ROWS = 2_000  # rows encoded to learn the lengths
SAMPLE_ANSWERS = 500  # of those, rows whose answer is measured alone
SAMPLE_STEPS = 20  # steps laid out as forests to learn how much they share
FROZEN = ("data", "model", "method", "objective", "train", "retention")


@dataclass
class Filling:
    """The recipe while it is being filled, with reasons and rejected alternatives."""

    recipe: Recipe
    reasons: dict[str, str]
    rejected: list[dict[str, str]]

    def take(self, section: str, key: str, choice: defaults.Choice) -> None:
        """Fill one key of a section."""
        self.recipe = self.recipe.changed(section, **{key: choice.value})
        self._note(f"{section}.{key}", choice)

    def take_method(self, choice: defaults.Choice) -> None:
        """Fill the method."""
        self.recipe = self.recipe.model_copy(update={"method": choice.value})
        self._note("method", choice)

    def _note(self, key: str, choice: defaults.Choice) -> None:
        self.reasons[key] = choice.why
        self.rejected += [{"what": f"{key}: {what}", "why": why} for what, why in choice.rejected]


@dataclass(frozen=True)
class Measured:
    """The training rows as the model will see them. units: examples, or pieces of documents, that make up batches."""

    lengths: defaults.Lengths
    units: int
    num_left_out: int
    learned_share: float
    sample: list[list[Row]]
    examples: list[Example]  # those that were looked at


def choose(recipe: Recipe, run: Run) -> Report:
    """Fill and freeze. Raises NotThere (no such model), RecipeError (impossible value), DataError (nothing to do)."""
    from tunewright.models import estimate, hardware, opening

    begun = _has_begun(run)
    filling = Filling(recipe, default_reasons(recipe), [])
    if begun:
        _keep_frozen(filling, run)
    start = tuned.start_options(filling.recipe, run)
    chat = opening.open_chat(start)
    suited.refuse_known_tokens(filling.recipe, chat)
    facts = estimate.facts(start.base, revision=start.revision, new_tokens=chat.new.ids if chat.new else ())
    if filling.recipe.method is not None:  # rows find the positions that a root leaves
        facts = replace(facts, context=facts.context - filling.recipe.the_method().root_tokens)
    _refuse_impossible(filling.recipe, facts)
    machine = hardware.probe()
    prepared = run.report("prepare")
    suited.refuse_media(prepared.numbers if prepared else {})
    suited.refuse_samples(filling.recipe, prepared.numbers if prepared else {})
    filling.recipe, reasons = suited.fitted(filling.recipe, prepared.numbers if prepared else {}, facts)
    filling.reasons |= reasons
    try_later_stages(filling.recipe, run)
    objective = filling.recipe.the_objective()
    training, validation = run.split("train"), run.split("validation")
    if not training:
        raise DataError("There are no training rows. Add data, or give data.split a larger share for training.")
    if filling.recipe.data.mix is not None:
        tasks.refuse_one([tasks.of_example(row, filling.recipe.data.mix.by) for row in training], filling.recipe)
    documents = "text" in objective.needs
    if objective.on_policy:
        rewards.refuse_without_answers(filling.recipe, run.split("train", "validation"))
    if filling.recipe.train.max_tokens is None and documents:
        nothing = defaults.Lengths([], [])
        filling.take(
            "train", "max_tokens", defaults.row_limit(nothing, facts.context, facts.parameters, documents=True)
        )
    limit = filling.recipe.train.max_tokens if documents else None
    measured = measure(run, training, objective, chat, max_tokens=limit or estimate.NO_LIMIT)
    _fill_machine(filling, facts, machine)
    if filling.recipe.train.max_tokens is None:
        longest = defaults.row_limit(measured.lengths, facts.context, facts.parameters, documents=False)
        filling.take("train", "max_tokens", longest)
    costs = _fill_method(filling, facts, machine, measured, documents)
    steps = _fill_training(filling, facts, machine, measured, costs, documents)
    if not begun:
        _fill_storing(filling, run, facts, measured, costs, steps, len(validation))
    _fill_rest(filling, facts, measured, canaries.left_out(run.split("train", "validation")), documents)
    preview.write(filling.recipe, run, chat)
    report = _conclude(filling, run, facts, machine, measured, steps, len(validation), begun, chat)
    return learning_curve.added(report, recipe, filling.recipe, run)


def measure(run: Run, training: Sequence[Example], objective: Objective, chat: Chat, *, max_tokens: int) -> Measured:
    """Encode a sample of the rows. Raises DataError when none of them leaves anything to learn."""
    sample = random.Random(0).sample(training, min(SAMPLE_ROWS, len(training)))
    units: list[list[Row]] = []
    answers: list[int] = []
    left_out = 0
    for number, example in enumerate(sample):
        if number % 200 == 0:
            run.stop_if_asked()
            run.log("progress", stage="choose", done=number, total=len(sample), what="measuring lengths")
        rows = objective.encode(example, chat, max_tokens=max_tokens)
        left_out += not rows
        if "text" in objective.needs:
            units += [[row] for row in rows]
            continue
        if rows:
            units.append(rows)
            known = example.num_answer_messages != 0 or example.expected is not None
            if known and len(answers) < SAMPLE_ANSWERS and not objective.by_head:
                answers.append(len(chat.turns(objective.with_answer(example))[-1].answer))
    if not units:
        raise DataError(
            f"None of {len(sample)} training rows leaves anything to learn for this objective. "
            f"Look at {run.path('data', 'train.jsonl')}: do the rows have answers, and is data.format right?"
        )
    rows = [row for unit in units for row in unit]
    tokens = sum(len(row.items) for row in rows)
    learned = sum(sum(weight > 0 for weight in row.weights) for row in rows)
    return Measured(
        lengths=defaults.Lengths([objective.longest(row) for row in rows], answers),
        units=round(len(units) * len(training) / len(sample)),
        num_left_out=left_out,
        learned_share=learned / tokens,
        sample=units,
        examples=sample,
    )


def _has_begun(run: Run) -> bool:
    return any(run.path("checkpoints").glob("step-*")) or run.report("train") is not None


def _keep_frozen(filling: Filling, run: Run) -> None:
    """Once training has begun, its part of the recipe stands, with the reasons it was filled with."""
    frozen = run.recipe()
    filling.recipe = filling.recipe.model_copy(update={section: getattr(frozen, section) for section in FROZEN})
    before = run.report("choose")
    if before is not None:
        kept = {key: why for key, why in before.numbers["reasons"].items() if key.split(".")[0] in FROZEN}
        filling.reasons.update(kept)
        filling.rejected += [
            row for row in before.numbers["rejected"] if row["what"].split(":")[0].split(".")[0] in FROZEN
        ]


def _refuse_impossible(recipe: Recipe, facts: ModelFacts) -> None:
    if recipe.train.max_tokens is not None and recipe.train.max_tokens > facts.context:
        raise RecipeError(
            f"train.max_tokens: {recipe.train.max_tokens} tokens do not fit into the {facts.context} positions of "
            f"'{facts.base}'. Give at most {facts.context}, or leave it out."
        )
    suited.refuse_encoder(recipe, facts)
    if facts.root and recipe.method is not None and recipe.the_method().root_tokens:
        raise RecipeError(
            f"method: '{recipe.the_method().kind}' learns a root, but the {facts.root} tokens that an earlier training "
            "learned stand before every row already. Take a method that changes weights, such as lora, or start from "
            "another model."
        )


def _fill_machine(filling: Filling, facts: ModelFacts, machine: Hardware) -> None:
    train = filling.recipe.train
    if train.device == "auto":
        why = f"the GPU that was found: {machine.gpu_name}" if machine.gpu_name else "no GPU was found"
        filling.take("train", "device", defaults.Choice(machine.device, why))
    if train.dtype == "auto":
        here = filling.recipe.train.device.startswith(machine.device)
        best = machine.best_dtype if here else "float32"
        filling.take("train", "dtype", defaults.number_format(best, machine.gflops, facts.parameters))
    if train.threads is None:
        import torch

        why = "as many as torch takes here: the cores, or OMP_NUM_THREADS"
        filling.take("train", "threads", defaults.Choice(min(machine.cores, torch.get_num_threads()), why))


def _fill_method(
    filling: Filling, facts: ModelFacts, machine: Hardware, measured: Measured, documents: bool
) -> Estimate:
    """Fill the method where it is open; return the costs with one row at a time."""
    longest = filling.recipe.train.max_tokens or facts.context

    def costs(method: Method, again: int = 0) -> Estimate:
        return fitting.costs(
            filling.recipe, facts, machine, measured, method, micro_tokens=longest, checkpoint_layers=again
        )

    if filling.recipe.method is None:
        full = costs(catalog.build("methods", "full"), facts.layers - 1)  # the least memory that it can do with
        fits = full.memory_bytes <= defaults.MEMORY_SHARE * machine.training_bytes
        filling.take_method(defaults.method(measured.units, facts.parameters, documents=documents, full_fits=fits))
    return costs(filling.recipe.the_method())


def _fill_training(
    filling: Filling, facts: ModelFacts, machine: Hardware, measured: Measured, costs: Estimate, documents: bool
) -> int:
    """Fill batch, rate, length and memory; return the number of optimizer steps."""
    train = filling.recipe.train
    if train.batch is None:
        filling.take("train", "batch", defaults.batch(measured.units))
    method, objective = filling.recipe.the_method(), filling.recipe.the_objective()
    if train.lr is None:
        group = defaults.rate_group(method.rates, has_adapter=method.has_adapter)
        rate = defaults.rate(group, facts.parameters, objective=objective, encoder=facts.is_encoder)
        filling.take("train", "lr", defaults.times(rate, train.lr_multiplier))
        filling.recipe = filling.recipe.changed("train", lr_multiplier=1.0)  # it stands in lr
    if train.epochs is None and train.steps is None:
        passes = defaults.epochs(measured.units, facts.parameters, documents=documents, objective=objective)
        filling.take("train", "epochs", passes)
    train = filling.recipe.train
    assert train.batch is not None and train.max_tokens is not None
    per_epoch = math.ceil(measured.units / train.batch)
    steps = train.steps or max(1, math.ceil((train.epochs or 1) * per_epoch))
    look = defaults.looks(steps, per_epoch)
    if train.evaluate_every is None:
        filling.take("train", "evaluate_every", look)
    if train.save_every is None:
        every = filling.recipe.train.evaluate_every
        filling.take(
            "train", "save_every", defaults.Choice(every, "a checkpoint at each look, so that the best one can be kept")
        )
    fitting.fill(filling, facts, machine, measured, costs)
    return steps


def _fill_storing(
    filling: Filling,
    run: Run,
    facts: ModelFacts,
    measured: Measured,
    costs: Estimate,
    steps: int,
    num_validation: int,
) -> None:
    """Decide whether frozen layers compute each row once. Raises RecipeError where the user asks for what cannot be."""
    from tunewright.models.opening import DTYPES

    train = filling.recipe.train
    if filling.recipe.the_objective().on_policy:
        filling.take("train", "store_frozen", defaults.Choice(False, "the rows of each step are new"))
        return
    assert train.batch is not None and train.max_tokens is not None
    tokens = sum(min(length, train.max_tokens) for length in measured.lengths.rows) / len(measured.sample)
    units = measured.units + min(num_validation, VALIDATION_EXAMPLES)

    def rule(passes: float) -> defaults.Choice:
        return defaults.store_frozen(
            frozen=costs.frozen_layers,
            layers=facts.layers,
            draws=filling.recipe.the_objective().draws,
            passes=passes,
            num_bytes=tokens * units * facts.hidden * DTYPES[train.dtype].itemsize,
            free_bytes=vaults.room(run),
        )

    if train.store_frozen is None:
        filling.take("train", "store_frozen", rule(steps / math.ceil(measured.units / train.batch)))
    elif train.store_frozen and not (wanted := rule(math.inf)).value:
        raise RecipeError(f"train.store_frozen: true is not possible: {wanted.why}. Leave it out, or say false.")


def _fill_rest(
    filling: Filling, facts: ModelFacts, measured: Measured, examples: Sequence[Example], documents: bool
) -> None:
    evaluate, deploy = filling.recipe.evaluate, filling.recipe.deploy
    objective = filling.recipe.the_objective()
    if evaluate.against is None:
        asked = objective.asks_base and not facts.is_encoder
        filling.take("evaluate", "against", defaults.contestants(asked=asked))
    if evaluate.graders is None:
        wanted = evaluate.goal.graders if evaluate.goal else []
        choice = defaults.graders(examples, documents=documents, fitting=objective.fitting_graders)
        filling.take("evaluate", "graders", defaults.with_goal(choice, wanted))
        labels = [grader.label for grader in filling.recipe.the_graders()]
        if objective.figure is None and (unfit := [name for name in wanted if name not in labels]):
            raise RecipeError(
                f"evaluate.goal.grader: no grader that fits this data is called '{unfit[0]}' "
                f"(they are {', '.join(labels) or 'none'}). Name it in evaluate.graders, or take one of these."
            )
    if evaluate.max_new_tokens is None and objective.by_head:
        filling.take("evaluate", "max_new_tokens", defaults.Choice(1, "a head answers; no tokens are written"))
    elif evaluate.max_new_tokens is None:
        own = objective.model_dump().get("max_new_tokens")  # of what it samples
        filling.take("evaluate", "max_new_tokens", defaults.answer_limit(measured.lengths.answers, facts.context, own))
    if deploy.formats is None:
        method = filling.recipe.the_method()
        choice = defaults.formats(has_adapter=method.has_adapter, mergeable=method.mergeable)
        filling.take("deploy", "formats", choice)


def _conclude(
    filling: Filling,
    run: Run,
    facts: ModelFacts,
    machine: Hardware,
    measured: Measured,
    steps: int,
    num_validation: int,
    begun: bool,
    chat: Chat,
) -> Report:
    recipe, train = filling.recipe, filling.recipe.train
    assert train.batch and train.max_tokens and train.micro_tokens and train.evaluate_every
    costs = fitting.costs(recipe, facts, machine, measured, recipe.the_method(), micro_tokens=train.micro_tokens)
    num_read = steps / math.ceil(measured.units / train.batch) * measured.units
    num_read *= recipe.the_objective().repeats
    share = train.share or not (recipe.the_method().draws or recipe.the_objective().draws)
    share = share and not (facts.is_encoder or facts.is_encoder_decoder)
    sample = _clipped(measured.sample, train.max_tokens)
    root = facts.root + recipe.the_method().root_tokens
    tokens, forest_tokens = _tokens(sample, num_read, train, share=share, root=root)
    mean = sum(measured.lengths.rows) / len(measured.sample)  # of a unit
    looks = 1 + math.ceil(steps / train.evaluate_every)  # the first before any step
    look_tokens = min(num_validation, VALIDATION_EXAMPLES) * mean * looks / 3  # a look is a forward pass alone
    if recipe.the_objective().uses_reference:  # and so is asking the reference, once
        look_tokens += forest_tokens / num_read * (measured.units + num_validation) / 3
    seconds = (forest_tokens + look_tokens) / 1000 * costs.seconds_per_1000_tokens
    if train.store_frozen:  # of all passes, the frozen layers compute one
        again = max(0.0, 1 - measured.units / num_read)
        seconds -= again * forest_tokens / 1000 * costs.frozen_seconds_per_1000_tokens
    numbers: dict[str, Any] = {
        "reasons": filling.reasons,
        "rejected": filling.rejected,
        "steps": steps,
        "tokens": tokens,
        "forest_tokens": forest_tokens,
        "seconds": round(seconds, 1),
        "memory_bytes": costs.memory_bytes,
        "memory_parts": costs.parts,
        "parameters": facts.parameters,
        "trainable_parameters": costs.trainable_parameters,
        "model": asdict(facts),
        "hardware": asdict(machine),
        "lengths": measured.lengths.numbers() | {"learned_share": round(measured.learned_share, 4)},
    }
    findings = unusual.settings(recipe, facts, units=measured.units, steps=steps)
    findings += unusual.lengths(recipe, measured.lengths, num_left_out=measured.num_left_out)
    findings += suited.unread(recipe.the_objective(), facts, measured.examples)
    findings += suited.unsaid(chat, measured.examples) + suited.new_tokens(chat, costs, measured.sample)
    findings += unusual.amounts(measured.units, num_validation)
    findings += unusual.memory(costs.memory_bytes, costs.parts, machine.training_bytes)
    if begun:
        message = "Training has begun: its values stand; only evaluation and release are filled anew."
        findings.append(Finding(name="frozen", message=message))
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml(filling.reasons))
    return Report(
        stage="choose", run=run.name, numbers=numbers, findings=findings, next=f"tunewright train {run.folder}"
    )


def _clipped(sample: list[list[Row]], limit: int) -> list[list[Row]]:
    return [[replace(row, items=row.items[:limit], weights=row.weights[:limit]) for row in unit] for unit in sample]


def _tokens(
    sample: list[list[Row]], num_read: float, train: TrainOptions, *, share: bool, root: int
) -> tuple[int, int]:
    """Row tokens and forest tokens of this many units, from a few steps laid out as training does."""
    from tunewright.models.forest import Forest, micro_batches

    batch, of_rows, of_forests, tried = train.batch or 1, 0, 0, 0
    for at in range(0, min(len(sample), SAMPLE_STEPS * batch), batch):
        units = sample[at : at + batch]
        tried += len(units)
        for rows in micro_batches(units, train.micro_tokens or 1, share=share, root=root):
            forest = Forest.build(rows, share=share, roots={"": root})
            of_rows, of_forests = of_rows + forest.num_row_tokens, of_forests + forest.num_tokens
    scale = num_read / tried
    return round(of_rows * scale), round(of_forests * scale)
