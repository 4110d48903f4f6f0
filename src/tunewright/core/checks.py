"""Everything about a recipe that can be found wrong before expensive work; all problems are told at once."""

from __future__ import annotations

import glob
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from tunewright.core import catalog
from tunewright.core.errors import MissingPackage, RecipeError, unknown
from tunewright.core.parts import Grader, Method, Objective, Part
from tunewright.core.recipe import PartChoice, Recipe
from tunewright.core.retrieval import COLUMNS, Shown


def problems(recipe: Recipe) -> list[str]:
    """Each problem as one sentence; an empty list means the recipe can be carried out."""
    found: list[str] = []
    method = _try(found, "methods", recipe.method) if recipe.method is not None else None
    _try(found, "objectives", recipe.objective)
    graders = [_try(found, "graders", choice) for choice in recipe.evaluate.graders or []]
    contestants = [_try(found, "contestants", choice) for choice in recipe.evaluate.against]
    exporters = [_try(found, "exporters", choice) for choice in recipe.deploy.formats or []]
    found += _data(recipe)
    found += _retrieval(recipe, graders, contestants)
    found += _start(recipe)
    found += _names("grader", [part.label for part in graders if isinstance(part, Grader)])
    found += _names("contestant", [part.kind for part in contestants if part is not None])
    found += _goal(recipe, [part.label for part in graders if isinstance(part, Grader)])
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


def told_lacking(objective: Objective, need: str, lack: list[str], count: int) -> str:
    """One sentence: what the objective needs is missing from the examples with the ids `lack`, of `count`."""
    return (
        f"Objective '{objective.kind}' needs {need} in every example; {len(lack):,} of {count:,} lack it. "
        f"First: {lack[0]}. Bring data of that shape, or choose another objective."
    )


def _try(found: list[str], family: str, choice: PartChoice) -> Part | None:
    try:
        part: Part = catalog.build(family, choice)
        for package in part.packages:
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


def _retrieval(recipe: Recipe, graders: Sequence[Part | None], contestants: Sequence[Part | None]) -> list[str]:
    """What needs `data.retrieval`, and what it needs."""
    own = recipe.data.retrieval
    parts: Sequence[object] = contestants
    searching = [part for part in parts if isinstance(part, Shown)]
    asking = searching[0] if searching else None
    named: list[tuple[str, Shown | None]] = [("data.retrieval", own), ("evaluate.against: retrieval", asking)]
    found = [
        f"{key}: documents: there is no file or folder {path}. Paths are relative to the recipe."
        for key, shown in named
        for path in (shown.documents if shown else [])
        if not path.startswith("hub:") and not Path(path).exists() and not glob.glob(path, recursive=True)
    ]
    has_own = asking is not None and bool(asking.documents)
    if own is None:
        for word in sorted({*COLUMNS} & {*recipe.data.fields}):
            found.append(f"data.fields: '{word}' names a passage. Give data.retrieval with documents, or leave it out.")
        if any(part is not None and part.kind == "cites" for part in graders):
            found.append(
                "evaluate.graders: 'cites' grades citations of passages. Give data.retrieval, or leave it out."
            )
        if asking is not None and not has_own:
            found.append("evaluate.against: 'retrieval' has nothing to search. Give it documents: [files].")
        return found
    if importlib.util.find_spec("bm25s") is None:
        found.append(str(MissingPackage("bm25s", needed_for="data.retrieval")))
    kind = recipe.objective if isinstance(recipe.objective, str) else recipe.objective.get("kind")
    if kind != "sft":
        found.append(f"data.retrieval makes rows for the objective 'sft', found '{kind}'. Use sft, or leave it out.")
    if asking is not None and not has_own and any(part is not None and part.kind == "base" for part in contestants):
        found.append(
            "evaluate.against: with data.retrieval 'base' is given the passages too, so 'retrieval' asks the same. "
            "Name one of them, or give 'retrieval' documents of its own."
        )
    return found


def _start(recipe: Recipe) -> list[str]:
    start = recipe.model.start
    if start is None or any((Path(start) / name).exists() for name in ("run.json", "adapter_config.json")):
        return []
    return [f"model.from: {start} is neither a run nor an adapter folder. Paths are relative to the recipe."]


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
    names = [choice if isinstance(choice, str) else str(choice.get("kind")) for choice in recipe.evaluate.against]
    for name in goal.beat:
        if name not in names:
            found.append(f"evaluate.goal.beat: {unknown('contestant', name, names)}")
    if goal.at_least is None and not goal.beat:
        found.append("evaluate.goal: nothing to reach. Give at_least, beat, or both.")
    return found
