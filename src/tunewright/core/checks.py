"""Everything about a recipe that can be found wrong before expensive work; all problems are told at once."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from tunewright.core import catalog, rewards
from tunewright.core.errors import RecipeError, unknown
from tunewright.core.example import Example
from tunewright.core.parts import Grader, Method, Objective, Part
from tunewright.core.recipe import CONTESTANTS, PartChoice, Recipe


def problems(recipe: Recipe) -> list[str]:
    """Each problem as one sentence; an empty list means the recipe can be carried out."""
    found: list[str] = []
    method = _try(found, "methods", recipe.method) if recipe.method is not None else None
    objective = _try(found, "objectives", recipe.objective)
    graders = [_try(found, "graders", choice) for choice in recipe.evaluate.graders or []]
    contestants = [_try(found, "contestants", choice) for choice in recipe.evaluate.against or []]
    exporters = [_try(found, "exporters", choice) for choice in recipe.deploy.formats or []]
    found += _data(recipe)
    found += _start(recipe)
    if isinstance(objective, Objective) and objective.on_policy:
        found += _on_policy(recipe, objective)
    found += _names("grader", [part.label for part in graders if isinstance(part, Grader)])
    found += _names("contestant", [part.kind for part in contestants if part is not None])
    found += _goal(recipe, [part.label for part in graders if isinstance(part, Grader)])
    if isinstance(objective, Objective):
        found += _objective(recipe, objective)
    if recipe.train.epochs is not None and recipe.train.steps is not None:
        found.append("train: give epochs or steps, not both.")
    if (
        isinstance(method, Method)
        and not method.has_adapter
        and any(part is not None and part.kind == "adapter" for part in exporters)
    ):
        found.append(
            f"deploy.formats: method '{method.kind}' changes the base's own weights, so there is no adapter to export. "
            "Use 'merged', or the method 'lora'."
        )
    return found


def check(recipe: Recipe) -> None:
    """Raise RecipeError with every problem."""
    found = problems(recipe)
    if found:
        raise RecipeError(found)


def lacking(objective: Objective, examples: Iterable[Example]) -> str | None:
    """Which examples lack what the objective needs, as one sentence; None when all have it."""
    count, lack = 0, []
    need: str | None = None
    for example in examples:
        count += 1
        if (missing := objective.lacks(example)) is not None:
            need = need or missing
            lack.append(example.id)
    return told_lacking(objective, need, lack, count) if need else None


def told_lacking(objective: Objective, need: str, lack: list[str], count: int) -> str:
    """The sentence of `lacking`: `need` is missing from the examples with the ids `lack`, of `count`."""
    return (
        f"Objective '{objective.kind}' needs {need} in every example; {len(lack):,} of {count:,} lack it. "
        f"First: {lack[0]}. Bring data of that shape, or choose another objective."
    )


def _try(found: list[str], family: str, choice: PartChoice) -> Part | None:
    try:
        part: Part = catalog.build(family, choice)
        return part
    except RecipeError as error:
        found += error.problems
        return None


def _data(recipe: Recipe) -> list[str]:
    found = []
    for key, paths in (
        ("sources", recipe.data.sources),
        ("test", [recipe.data.test] if recipe.data.test else []),
        ("validation", [recipe.data.validation] if recipe.data.validation else []),
    ):
        for path in paths:
            if not path.startswith("hub:") and not Path(path).exists() and not glob.glob(path, recursive=True):
                found.append(f"data.{key}: there is no file or folder {path}. Paths are relative to the recipe.")
    split = recipe.data.split
    total = split.train + split.validation + split.test
    if abs(total - 1) > 1e-6:
        found.append(f"data.split: train, validation and test must add up to 1, found {total:g}.")
    return found


def _start(recipe: Recipe) -> list[str]:
    start = recipe.model.start
    if start is None or any((Path(start) / name).exists() for name in ("run.json", "adapter_config.json")):
        return []
    return [f"model.from: {start} is neither a run nor an adapter folder. Paths are relative to the recipe."]


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
    remedy = "Give one of them another 'name:'." if what == "grader" else "Name each kind once."
    return [f"evaluate: two {what}s are called '{name}'. {remedy}" for name in twice]


def _goal(recipe: Recipe, graders: list[str]) -> list[str]:
    goal = recipe.evaluate.goal
    if goal is None:
        return []
    found = []
    if recipe.evaluate.graders is not None and goal.grader not in graders:
        found.append(f"evaluate.goal.grader: {unknown('grader name', goal.grader, graders)}")
    against = CONTESTANTS if recipe.evaluate.against is None else recipe.evaluate.against
    names = [choice if isinstance(choice, str) else str(choice.get("kind")) for choice in against]
    for name in goal.beat:
        if name not in names:
            found.append(f"evaluate.goal.beat: {unknown('contestant', name, names)}")
    if goal.at_least is None and not goal.beat:
        found.append("evaluate.goal: nothing to reach. Give at_least, beat, or both.")
    return found


def _objective(recipe: Recipe, objective: Objective) -> list[str]:
    """What evaluation cannot do with what this objective teaches."""
    found = []
    kind, goal = objective.kind, recipe.evaluate.goal
    if not objective.asks_base and (recipe.evaluate.against or (goal and goal.beat)):
        found.append(
            f"evaluate.against and goal.beat: the untuned model cannot be asked for what objective '{kind}' teaches, "
            "so there is nobody to beat. Leave both out."
        )
    if objective.figure is not None and recipe.evaluate.graders:
        found.append(
            f"evaluate.graders: objective '{kind}' has no answers to grade; its figure is '{objective.figure}'. Leave "
            "graders out."
        )
    if objective.figure is not None and goal and goal.grader != objective.figure:
        found.append(f"evaluate.goal.grader: {unknown('grader name', goal.grader, [objective.figure])}")
    return found
