"""Everything about a recipe that can be found wrong before expensive work; all problems are told at once."""

from __future__ import annotations

import glob
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunewright.core import canaries, catalog, choosing, contesting, harvested, judging, phases, repeated, rewards
from tunewright.core.errors import DataError, MissingPackage, RecipeError, unknown
from tunewright.core.evaluating import CONTESTANTS
from tunewright.core.example import Example
from tunewright.core.guarding import Guard
from tunewright.core.monitor_options import problems as monitor_problems
from tunewright.core.part import PartChoice
from tunewright.core.parts import Contestant, Edit, Exporter, Grader, Method, Objective, Part, Retention
from tunewright.core.recipe import Recipe
from tunewright.core.retrieval import COLUMNS


def problems(
    recipe: Recipe, *, promised: Mapping[str, PartChoice | None] | None = None, runs: Path | None = None
) -> list[str]:
    """Each problem as one sentence; an empty list means the recipe can be carried out.

    promised: of a phase's recipe, the method of each phase that may have run before it. runs: where runs have names,
    if these are to be looked up.
    """
    found: list[str] = []
    method = _try(found, "methods", recipe.method) if recipe.method is not None else None
    objective = _try(found, "objectives", recipe.objective)
    graders = [_try(found, "graders", choice) for choice in recipe.evaluate.graders or []]
    contestants = [_try(found, "contestants", choice) for choice in recipe.evaluate.against or []]
    exporters = [_try(found, "exporters", choice) for choice in recipe.deploy.formats or []]
    found += _data(recipe) + choosing.problems(recipe)
    if isinstance(objective, Objective):
        found += canaries.problems(recipe)
    found += _augment(recipe)
    found += _retrieval(recipe, graders) + contesting.problems(recipe, contestants, runs)
    found += _start(recipe, objective)
    found += _new_tokens(recipe)
    found += _retention(recipe, method, promised or {})
    if isinstance(objective, Objective) and objective.on_policy:
        found += _on_policy(recipe, objective)
    found += _names("grader", [part.label for part in graders if isinstance(part, Grader)])
    found += _names("contestant", [part.label for part in contestants if isinstance(part, Contestant)])
    found += _guards(recipe) + monitor_problems(recipe.monitor)
    found += _goal(recipe, [part for part in graders if isinstance(part, Grader)])
    if isinstance(objective, Objective):
        found += _objective(recipe, objective, graders)
        judges = [part for part in graders if isinstance(part, Grader)]
        found += judging.problems(recipe, judges, _against(recipe))
    if recipe.train.epochs is not None and recipe.train.steps is not None:
        found.append("train: give epochs or steps, not both.")
    if isinstance(method, Method):
        found += _exports(method, exporters)
    if recipe.retention and isinstance(objective, Objective) and (objective.fits_encoders or objective.figure):
        found.append(
            f"retention: objective '{objective.kind}' learns a head of its own, and what is kept goes through the "
            "vocabulary head. Leave retention out, or take an objective that answers in words."
        )
    return found + _phases(recipe, found, runs)


def _guards(recipe: Recipe) -> list[str]:
    """Guards that cannot be made, are named twice, or name files that are not there."""
    found: list[str] = []
    guards = [_try(found, "guards", choice) for choice in recipe.evaluate.guards or []]
    found += _names("guard", [part.kind for part in guards if part is not None])
    return found + [
        f"evaluate.guards: {part.kind}: there is no file or folder for {missing}. Paths are relative to the recipe."
        for part in guards
        if isinstance(part, Guard)
        for missing in part.missing_files()
    ]


def _exports(method: Method, exporters: Sequence[Part | None]) -> list[str]:
    """Formats that the method's result cannot have."""
    found = []
    if not method.has_adapter and any(part is not None and part.kind == "adapter" for part in exporters):
        found.append(
            f"deploy.formats: method '{method.kind}' changes the base's own weights, so there is no adapter to export. "
            "Use 'merged', or the method 'lora'."
        )
    if not method.mergeable:
        found += [
            f"deploy.formats: method '{method.kind}' cannot be folded into plain weights, which '{part.kind}' needs. "
            "Use 'adapter', or the method 'lora'."
            for part in exporters
            if isinstance(part, Exporter) and part.merges
        ]
    return found


def check(recipe: Recipe, *, runs: Path | None = None) -> None:
    """Raise RecipeError with every problem."""
    found = problems(recipe, runs=runs)
    if found:
        raise RecipeError(found)


class Lacking:
    """Counts the examples that lack what the objective needs."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.num_examples = 0
        self.need: str | None = None
        self.ids: list[str] = []

    def see(self, example: Example) -> None:
        """Look at an example."""
        self.num_examples += 1
        if (missing := self.objective.lacks(example)) is not None:
            self.need = self.need or missing
            self.ids.append(example.id)

    def refuse(self) -> None:
        """Raise DataError when any lacks it."""
        if self.need:
            raise DataError(told_lacking(self.objective, self.need, self.ids, self.num_examples))


def told_lacking(objective: Objective, need: str, lack: list[str], count: int) -> str:
    """The sentence about it: `need` is missing from the examples with the ids `lack`, of `count`."""
    return (
        f"Objective '{objective.kind}' needs {need} in every example; {len(lack):,} of {count:,} lack it. "
        f"First: {lack[0]}. Bring data of that shape, or choose another objective."
    )


def _augment(recipe: Recipe) -> list[str]:
    """Edits that cannot be made, or that ask a model where none is named; files that are not there."""
    found = [
        f"data.more: there is no '{source}'. Correct the path or leave it out."
        for source in recipe.data.more
        if not source.startswith(("hub:", harvested.TRAFFIC)) and not glob.glob(source, recursive=True)
    ]
    augment = recipe.data.augment
    if augment is None:
        return found
    edits = [_try(found, "edits", choice) for choice in augment.edits]
    asking = [edit.kind for edit in edits if isinstance(edit, Edit) and edit.num_questions]
    if asking and augment.endpoint is None and augment.model is None:
        found.append(
            f"data.augment: '{asking[0]}' asks a model, and none is named. Give data.augment.endpoint with url and "
            "model, or data.augment.model."
        )
    return found


def _try(found: list[str], family: str, choice: PartChoice) -> Part | None:
    try:
        part: Part = catalog.build(family, choice)
        for package in part.imports:
            if importlib.util.find_spec(package) is None:
                needed_for = f"{family.rstrip('s').capitalize()} '{part.kind}'"
                found.append(str(MissingPackage(package, needed_for=needed_for)))
        return part
    except RecipeError as error:
        found += error.problems
        return None


def _data(recipe: Recipe) -> list[str]:
    found = []
    for key, paths in (
        ("sources", recipe.data.sources),
        ("more", [source for source in recipe.data.more if source.startswith(harvested.TRAFFIC)]),
        ("test", [recipe.data.test] if recipe.data.test else []),
        ("validation", [recipe.data.validation] if recipe.data.validation else []),
    ):
        for path in paths:
            if path.startswith(harvested.TRAFFIC):
                found += harvested.problems(path)
            elif not path.startswith("hub:") and not Path(path).exists() and not glob.glob(path, recursive=True):
                found.append(f"data.{key}: there is no file or folder {path}. Paths are relative to the recipe.")
    scrub = recipe.data.scrub
    if scrub is not None and scrub.recognizer == "presidio" and importlib.util.find_spec("presidio_analyzer") is None:
        found.append(str(MissingPackage("presidio-analyzer", needed_for="data.scrub.recognizer: presidio")))
    split = recipe.data.split
    total = split.train + split.validation + split.test
    if abs(total - 1) > 1e-6:
        found.append(f"data.split: train, validation and test must add up to 1, found {total:g}.")
    if split.time and split.group:
        found.append("data.split: rows are parted by group or by time, found both. Leave one out.")
    num_problems = len(found)
    detectors = [_try(found, "detectors", choice) for choice in recipe.data.checks]
    found += _names("check", [part.kind for part in detectors if part is not None])
    if len(found) == num_problems:
        fixes = sorted({name for part in recipe.the_detectors() for name in part.fixes})
        unfit = [name for name in recipe.data.fix if name not in (*fixes, "safe")]
        found += [f"data.fix: {unknown('fix', name, [*fixes, 'safe'])}" for name in unfit]
    return found


def _retrieval(recipe: Recipe, graders: Sequence[Part | None]) -> list[str]:
    """What needs `data.retrieval`, and what it needs."""
    own = recipe.data.retrieval
    found = [
        f"data.retrieval: documents: there is no file or folder {path}. Paths are relative to the recipe."
        for path in (own.documents if own else [])
        if not path.startswith("hub:") and not Path(path).exists() and not glob.glob(path, recursive=True)
    ]
    if own is None:
        for word in sorted({*COLUMNS} & {*recipe.data.fields}):
            found.append(f"data.fields: '{word}' names a passage. Give data.retrieval with documents, or leave it out.")
        if any(part is not None and part.kind == "cites" for part in graders):
            found.append(
                "evaluate.graders: 'cites' grades citations of passages. Give data.retrieval, or leave it out."
            )
        return found
    if importlib.util.find_spec("bm25s") is None:
        found.append(str(MissingPackage("bm25s", needed_for="data.retrieval")))
    kind = recipe.objective if isinstance(recipe.objective, str) else recipe.objective.get("kind")
    if kind != "sft":
        found.append(f"data.retrieval makes rows for the objective 'sft', found '{kind}'. Use sft, or leave it out.")
    return found


def _start(recipe: Recipe, objective: Part | None) -> list[str]:
    start = recipe.model.start
    if start is None or start.startswith(phases.PROMISED) or (Path(start) / "adapter_config.json").exists():
        return []
    if not (Path(start) / "run.json").exists():
        return [f"model.from: {start} is neither a run nor an adapter folder. Paths are relative to the recipe."]
    frozen = Path(start) / "recipe.yaml"
    before = Recipe.load(frozen).the_objective() if frozen.exists() else None
    makes_vectors = before is not None and (before.decoding() or {}).get("kind") == "embed"
    if makes_vectors and isinstance(objective, Objective) and not objective.by_head:
        return [
            f"model.from: {start} learned to make vectors, and no longer says what its base did, so objective "
            f"'{objective.kind}' has nothing to go on from. Start from a base, or from a run that answers."
        ]
    return []


def _new_tokens(recipe: Recipe) -> list[str]:
    texts = recipe.model.new_tokens
    found = [
        f"model.new_tokens: '{text}' is there {texts.count(text)} times. Name each token once."
        for text in sorted({text for text in texts if texts.count(text) > 1})
    ]
    if blank := [text for text in texts if text != text.strip() or not text]:
        found.append(
            f"model.new_tokens: {blank[0]!r} is empty or has spaces at its ends. Write the token as it stands between "
            "them."
        )
    return found


def _retention(recipe: Recipe, method: Part | None, promised: Mapping[str, PartChoice | None]) -> list[str]:
    found: list[str] = []
    for part in (_try(found, "retention", choice) for choice in recipe.retention):
        if not isinstance(part, Retention):
            continue
        if part.needs_past and not part.has_past and recipe.model.start is None and not recipe.phases:
            found.append(
                f"retention.{part.kind}: nothing to keep is named. Give runs, go on from a run with model.from, or "
                "name phases."
            )
        used = {} if recipe.phases else {"here": method.kind if method else None}  # phases have methods of their own
        for run in part.runs:
            if run in promised:
                used[f"in the phase '{run.removeprefix(phases.PROMISED)}'"] = _kind(promised[run])
            elif not (Path(run) / "run.json").exists():
                found.append(f"retention.{part.kind}.runs: {run} is no run's folder. Paths are relative to the recipe.")
            elif (Path(run) / "recipe.yaml").exists():
                used[f"in {run}"] = _kind(Recipe.load(Path(run) / "recipe.yaml").method)
        found += [
            f"retention.{part.kind}: needs the method {' or '.join(part.methods)}, found {kind or 'none named'} "
            f"{where}. Name that method, or keep by 'replay'."
            for where, kind in used.items()
            if part.methods is not None and kind not in part.methods
        ]
    return found


def _kind(choice: PartChoice | None) -> str | None:
    return str(choice.get("kind")) if isinstance(choice, dict) else choice


def _phases(recipe: Recipe, told: list[str], runs: Path | None) -> list[str]:
    """Problems of every phase's own recipe; what is told of the outer recipe is not told again."""
    look = phases.look(recipe)
    promised = {f"{phases.PROMISED}{phase.name}": phase.recipe.method for phase in look.phases}
    own = [(one.name, problem) for one in look.phases for problem in problems(one.recipe, promised=promised, runs=runs)]
    found = [f"phase '{name}': {problem}" for name, problem in own if problem not in told]
    return look.problems + found + _second_roots(look.phases)


def _second_roots(found: Sequence[phases.Phase]) -> list[str]:
    """Phases that learn a root where an earlier phase's stays before every row."""
    methods = {one.name: _try([], "methods", one.recipe.method) for one in found if one.recipe.method is not None}
    rooted = [name for name, method in methods.items() if isinstance(method, Method) and method.root_tokens]
    return [
        f"phase '{one.name}': method: a root is learned here, but that of phase '{first}' stands before every row "
        "already. Take a method that changes weights, such as lora, or start from another phase."
        for one in found
        if one.name in rooted
        for first in [name for name in one.parents if name in rooted][:1]
    ]


def _on_policy(recipe: Recipe, objective: Objective) -> list[str]:
    found = []
    unasked = {"text": "documents", "entities": "marked texts", "spans": "marked texts"}.get(recipe.data.format)
    if unasked:
        better = "pretrain" if recipe.data.format == "text" else "tag"
        found.append(
            f"objective: '{objective.kind}' answers prompts, but data.format '{recipe.data.format}' has {unasked} "
            f"without any. Bring conversations, or use '{better}'."
        )
    if recipe.train.store_frozen:
        found.append(
            f"train.store_frozen: '{objective.kind}' learns from rows that are new in each step, so nothing can be "
            "stored. Leave it out."
        )
    try:
        rewards.parts(objective.model_dump()["reward"])
    except RecipeError as error:
        found += error.problems
    return found


def _names(what: str, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    remedy = "Give one of them another 'name:'." if what in ("grader", "contestant") else "Name each kind once."
    return [f"evaluate: two {what}s are called '{name}'. {remedy}" for name in twice]


def _against(recipe: Recipe) -> list[str]:
    """What the contestants are called."""
    against = CONTESTANTS if recipe.evaluate.against is None else recipe.evaluate.against
    return [choice if isinstance(choice, str) else str(choice.get("name") or choice.get("kind")) for choice in against]


def _goal(recipe: Recipe, graders: Sequence[Grader]) -> list[str]:
    names = _against(recipe)
    found = [f"evaluate.graders.{part.label}: {problem}" for part in graders for problem in part.problems(names)]
    goal = recipe.evaluate.goal
    if goal is None:
        return found
    found += [
        f"evaluate.goal.grader: {part.doubt}"
        for part in graders
        if part.label in goal.graders and part.doubt is not None
    ]
    labels = None if recipe.evaluate.graders is None else [part.label for part in graders]
    return [*found, *goal.problems(labels, names)]


def _objective(recipe: Recipe, objective: Objective, graders: Sequence[Part | None]) -> list[str]:
    """What evaluation cannot do with what this objective teaches."""
    kind, goal = objective.kind, recipe.evaluate.goal
    heads = objective.fits_encoders or objective.by_head  # in this order: before `choose` not every head is known
    free = not (heads or objective.figure) and recipe.data.format != "labels"
    found = repeated.problems(recipe.evaluate.samples, recipe.evaluate.temperature, free=free)
    against = [_try([], "contestants", choice) for choice in recipe.evaluate.against or []]
    asking = [part.label for part in against if isinstance(part, Contestant) and part.who in ("base", "tuned")]
    nobody = not against and goal is not None and any(bar.beat for bar in goal.bars)
    if not objective.asks_base and (asking or nobody):
        found.append(
            f"evaluate.against and goal.beat: the untuned model cannot be asked for what objective '{kind}' teaches, "
            f"so there is nobody to beat{' but releases and endpoints' if asking else ''}. Leave both out."
        )
    if recipe.train.batch is not None and recipe.train.batch < objective.least_batch:
        found.append(
            f"train.batch: objective '{kind}' tells the texts of a step from each other, so a step needs at least "
            f"{objective.least_batch} examples, found {recipe.train.batch}. Raise it, or leave it out."
        )
    if objective.figure is not None and recipe.evaluate.graders:
        found.append(
            f"evaluate.graders: objective '{kind}' has no answers to grade; its figure is '{objective.figure}'. Leave "
            "graders out."
        )
    if recipe.evaluate.guards and (heads or not objective.asks_base):
        found.append(
            f"evaluate.guards: they ask the base and the tuned model alike, and objective '{kind}' teaches a head of "
            "its own. Leave guards out."
        )
    if objective.figure is not None and recipe.evaluate.budget:
        found.append(f"evaluate.budget: objective '{kind}' has no answers whose cost could be measured. Leave it out.")
    if objective.fits_encoders:
        found += [
            f"evaluate.graders: '{grader.kind}' grades what the model finds likely, and objective '{kind}' teaches "
            "a head that says nothing. Leave it out."
            for grader in graders
            if isinstance(grader, Grader) and grader.needs_model
        ]
    if objective.figure is not None and goal:
        unfit = [name for name in goal.graders if name != objective.figure]
        found += [f"evaluate.goal.grader: {unknown('grader name', name, [objective.figure])}" for name in unfit]
    return found
