"""Carries the phases of a recipe: child runs, each trained from the result of an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tunewright.core import phases, storage
from tunewright.core.errors import NotThere
from tunewright.core.example import Example
from tunewright.core.phases import Phase
from tunewright.core.recipe import Recipe, default_reasons
from tunewright.core.report import Finding, ProofResult, Report
from tunewright.core.run import Listener, Run
from tunewright.stages import defaults, proving, tuned

Carry = Callable[[Recipe, Run, Sequence[str]], list[Report]]  # a phase's own stages, in its folder
SUMS = ("steps", "examples", "tokens", "training_seconds")
SAMPLE = 500  # answers measured to know how long one may be


def choose(recipe: Recipe, run: Run) -> Report:
    """Fill what the outer recipe leaves open: how the last phase's model is judged. Each phase fills its own recipe."""
    from tunewright.models import estimate, opening

    start = tuned.start_options(recipe, run)
    facts, chat = estimate.facts(start.base, revision=start.revision), opening.open_chat(start)
    reasons, filled = default_reasons(recipe), recipe
    examples = run.split("train", "validation", "test")
    if recipe.evaluate.graders is None:
        goal = recipe.evaluate.goal.graders if recipe.evaluate.goal else []
        documents = not any(example.messages for example in examples)
        choice = defaults.with_goal(defaults.graders(examples, documents=documents), goal)
        filled, reasons["evaluate.graders"] = filled.changed("evaluate", graders=choice.value), choice.why
    if recipe.evaluate.max_new_tokens is None:
        stride = max(1, len(examples) // SAMPLE)
        asked = [one for one in examples[::stride] if one.messages]
        answers = [len(turns[-1].answer) for one in asked if (turns := chat.turns(one))]
        choice = defaults.answer_limit(answers, facts.context)
        filled, reasons["evaluate.max_new_tokens"] = filled.changed("evaluate", max_new_tokens=choice.value), choice.why
    filled, reasons = _with_formats(filled, reasons, run)
    storage.write_text(run.path("recipe.yaml"), filled.to_yaml(reasons))
    numbers = {"reasons": reasons, "rejected": [], "phases": [str(values["name"]) for values in recipe.phases]}
    return Report(stage="choose", run=run.name, numbers=numbers, next=f"tunewright train {run.folder}")


def train(run: Run, carry: Carry) -> Report:
    """Prepare every phase, then choose and train one after the other; what is done is kept."""
    given = Recipe.load(run.path("recipe.given.yaml"))
    todo = phases.resolved(given, run.path("children").resolve())
    children = [_begun(phase, run) for phase in todo]
    for number, (phase, child) in enumerate(zip(todo, children, strict=True), 1):
        _announce(run, phase, number, len(todo), "prepare")
        _hold_out(run, child)
        carry(phase.recipe, child, ("prepare",))
    for number, (phase, child) in enumerate(zip(todo, children, strict=True), 1):
        _announce(run, phase, number, len(todo), "train")
        carry(phase.recipe, child, ("choose", "train"))
    before = run.report("choose")
    recipe, reasons = _with_formats(run.recipe(), before.numbers["reasons"] if before else {}, run)
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml(reasons))
    return _report(run, todo, children)


def prove(run: Run, *, names: list[str] | None) -> list[ProofResult]:
    """The proofs of every phase, and of all together, measured again."""
    recipe, children = run.recipe(), children_of(run)
    if len(children) < len(recipe.phases):
        raise NotThere(f"Run '{run.name}' has not finished training. Go on with: tunewright train {run.folder}")
    found = []
    for values, child in zip(recipe.phases, children, strict=True):
        found += _named(str(values["name"]), proving.prove(child.recipe(), child, names=names))
    return found + ([_unseen(run)] if names is None or "split" in names else [])


def children_of(run: Run) -> list[Run]:
    """The runs of the phases that have begun, in their order."""
    folders = [run.path("children", name) for name in phases.folder_names(run.recipe())]
    return [Run(folder) for folder in folders if (folder / "run.json").exists()]


def figures(name: str, child: Run) -> dict[str, Any] | None:
    """What a trained phase comes to; None before it is trained."""
    trained = child.report("train")
    if trained is None:
        return None
    recipe, looks = child.recipe(), list(child.events("validation"))
    figure = "reward" if recipe.the_objective().on_policy else "loss"  # of which the loss is what lacks
    seconds = sum(report.seconds for stage in ("prepare", "choose", "train") if (report := child.report(stage)))
    kept = trained.numbers.get("validation_loss")
    if figure == "reward":
        kept = trained.numbers.get("metrics", {}).get("validation", {}).get("reward")
    return {
        "name": name,
        "folder": str(child.folder),
        "objective": recipe.the_objective().kind,
        "method": recipe.the_method().kind,
        "retention": [part.kind for part in recipe.the_retention()],
        "figure": figure,
        "before": looks[0][figure] if looks else None,
        "after": kept,
        "seconds": round(seconds, 2),
        **{key: trained.numbers.get(key) for key in (*SUMS, "best_step", "trainable_parameters", "peak_memory_bytes")},
    }


# --- one phase ---


def _begun(phase: Phase, run: Run) -> Run:
    child = Run.begin(phase.recipe, runs=run.path("children").resolve())
    child.stop = run.stop
    child.listeners = [_naming(phase.name, listener) for listener in run.listeners]
    return child


def _naming(name: str, listener: Listener) -> Listener:
    return lambda event: listener({**event, "phase": name})


def _announce(run: Run, phase: Phase, number: int, total: int, what: str) -> None:
    run.stop_if_asked()
    run.log("phase", phase=phase.name, number=number, total=total, what=what)
    run.update(phase=phase.name, step=number - 1, total=total)


def _hold_out(run: Run, child: Run) -> None:
    """Tell preparing which rows no phase may learn: the outer test rows. A change prepares a phase anew if it can."""
    path = child.path("data", "held_out.jsonl")
    rows = [example.to_row() for example in run.split("test")]
    if path.exists() and list(storage.read_jsonl(path)) == rows:
        return
    storage.write_jsonl(path, rows, point="data")
    if child.report("train") is None and not any(child.path("checkpoints").glob("step-*")):
        child.path("prepare", "report.json").unlink(missing_ok=True)


# --- all together ---


def _with_formats(recipe: Recipe, reasons: dict[str, str], run: Run) -> tuple[Recipe, dict[str, str]]:
    """The formats of the release, where they are open: they follow from the last phase's method, once it is known."""
    last = run.path("children", phases.folder_names(recipe)[-1], "recipe.yaml")
    if recipe.deploy.formats is not None or not last.exists():
        return recipe, reasons
    method = Recipe.load(last).the_method()
    choice = defaults.formats(has_adapter=method.has_adapter, mergeable=method.mergeable)
    return recipe.changed("deploy", formats=choice.value), reasons | {"deploy.formats": choice.why}


def _report(run: Run, todo: Sequence[Phase], children: Sequence[Run]) -> Report:
    found = [figures(phase.name, child) for phase, child in zip(todo, children, strict=True)]
    done = [one for one in found if one is not None]
    assert len(done) == len(todo), "every phase has been trained"
    numbers: dict[str, Any] = {key: round(sum(one[key] or 0 for one in done), 2) for key in SUMS}
    numbers |= {
        "phases": done,
        "trainable_parameters": done[-1]["trainable_parameters"],
        "peak_memory_bytes": max(one["peak_memory_bytes"] or 0 for one in done),
        "tokens_per_second": round(numbers["tokens"] / max(numbers["training_seconds"], 1e-9), 1),
    }
    findings: list[Finding] = []
    proofs: list[ProofResult] = []
    for phase, child in zip(todo, children, strict=True):
        trained = child.report("train")
        assert trained is not None
        findings += [one.model_copy(update={"message": f"{phase.name}: {one.message}"}) for one in trained.findings]
        proofs += _named(phase.name, trained.proofs)
    return Report(
        stage="train", run=run.name, numbers=numbers, findings=findings, proofs=[*proofs, _unseen(run)],
        next=f"tunewright evaluate {run.folder}",
    )  # fmt: skip


def _named(phase: str, proofs: Iterable[ProofResult]) -> list[ProofResult]:
    return [proof.model_copy(update={"name": f"{phase}: {proof.name}"}) for proof in proofs]


def _unseen(run: Run) -> ProofResult:
    """Whether any phase learned from a twin of an outer test row."""
    from tunewright.data.clean import twin_key

    asked: dict[str, Example] = {twin_key(example): example for example in run.split("test")}
    twins = sum(twin_key(example) in asked for child in children_of(run) for example in child.split("train"))
    return ProofResult(
        name="split",
        claim="No phase learned from an exact or normalised twin of a test row of the whole run",
        measured=f"{twins} twins",
        bound="0 twins",
        holds=not twins,
    )
