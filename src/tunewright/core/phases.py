"""Phases of a recipe: partial recipes over the outer one, each resolved to a whole recipe of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import catalog
from tunewright.core.errors import RecipeError, unknown

if TYPE_CHECKING:
    from tunewright.core.part import PartChoice
    from tunewright.core.recipe import Recipe

NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,59}$")
START = "base"  # `from: base` starts from the outer recipe's model
MERGED = ("data", "model", "train")  # sections in which a phase changes single keys
PROMISED = "/phase:"  # begins what stands for the folder of a phase, where a recipe is only checked


@dataclass(frozen=True)
class Phase:
    """One phase. recipe: whole, named like the phase's folder. parents: names of the phases it goes on from, nearest
    last.
    """

    name: str
    recipe: Recipe
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Resolved:
    """The phases that can be made, and every problem of the others with the phase's name in front."""

    phases: list[Phase]
    problems: list[str]


def folder_names(recipe: Recipe) -> list[str]:
    """The folder of each phase under `children/`: its number and its name."""
    return [f"{number:02d}-{values.get('name')}" for number, values in enumerate(recipe.phases, 1)]


def resolved(recipe: Recipe, children: Path) -> list[Phase]:
    """The recipe of each phase: the outer values, then the phase's. Raises RecipeError with every problem."""
    found = look(recipe, children)
    if found.problems:
        raise RecipeError(found.problems)
    return found.phases


def look(recipe: Recipe, children: Path | None = None) -> Resolved:
    """The phases and what is wrong with them. children: the folder of their runs; None before there is one."""
    found = Resolved([], [])
    places: dict[str, str] = {}
    for number, (values, folder) in enumerate(zip(recipe.phases, folder_names(recipe), strict=True), 1):
        name = values.get("name")
        if not isinstance(name, str) or not NAME.match(name) or name == START or name in places:
            found.problems.append(
                f"phase {number}: name: {name!r} cannot name a phase. Give each phase a name of its own: at most 60 "
                f"lower-case letters, digits, '.', '_', '-'; not '{START}'."
            )
            continue
        try:
            found.phases.append(_phase(recipe, values, folder, found.phases, places))
        except RecipeError as error:
            found.problems.extend(f"phase '{name}': {problem}" for problem in error.problems)
        places[name] = str(children / folder) if children else f"{PROMISED}{name}"
    return found


def with_data(values: dict[str, Any]) -> dict[str, Any]:
    """Plain recipe values whose outer data, where left out, is the last phase's."""
    phases = values.get("phases")
    if "data" not in values and isinstance(phases, list) and phases and isinstance(phases[-1], dict):
        own = phases[-1].get("data")
        return values | {"data": own} if isinstance(own, dict) else values
    return values


def with_absolute_paths(
    values: dict[str, Any], absolute: Callable[[str], str], existing: Callable[[str], str]
) -> dict[str, Any]:
    """Plain values of a phase with absolute paths. existing: changes a name only where such a file is there."""
    changed = dict(values)
    if isinstance(data := values.get("data"), dict):
        changed["data"] = data | {key: absolute(data[key]) for key in ("test", "validation") if data.get(key)}
        if isinstance(data.get("sources"), list):
            changed["data"]["sources"] = [absolute(str(source)) for source in data["sources"]]
        select = data.get("select")
        if isinstance(select, dict) and isinstance(select.get("like"), str):
            changed["data"]["select"] = select | {"like": existing(select["like"])}
        search = data.get("retrieval")
        if isinstance(search, dict) and isinstance(search.get("documents"), list):
            documents = [absolute(str(path)) for path in search["documents"]]
            changed["data"]["retrieval"] = search | {"documents": documents}
    model = values.get("model")
    if isinstance(model, str):
        changed["model"] = {"base": existing(model)}
    elif isinstance(model, dict):
        changed["model"] = model | {k: existing(model[k]) for k in ("base", "from") if isinstance(model.get(k), str)}
    if "retention" in values:
        changed["retention"] = absolute_parts(as_list(values["retention"]), absolute, existing)
    return changed


def absolute_parts(
    choices: list[PartChoice], absolute: Callable[[str], str], existing: Callable[[str], str]
) -> list[PartChoice]:
    """Retention parts with absolute paths: `sources` are files, `runs` folders of runs."""
    found: list[PartChoice] = []
    for choice in choices:
        if isinstance(choice, dict):
            choice = dict(choice)
            for key, change in (("sources", absolute), ("runs", existing)):
                if isinstance(choice.get(key), list):
                    choice[key] = [change(path) if isinstance(path, str) else path for path in choice[key]]
        found.append(choice)
    return found


def as_list(choices: Any) -> list[PartChoice]:
    """One part or several, as a list."""
    return choices if isinstance(choices, list) else [choices]


def _phase(recipe: Recipe, values: dict[str, Any], folder: str, before: list[Phase], places: dict[str, str]) -> Phase:
    from tunewright.core.recipe import Recipe

    if "phases" in values:
        raise RecipeError("phases: a phase has no phases of its own. List them all in the recipe's 'phases'.")
    start = values.get("from", list(places)[-1] if places else START)
    if start != START and start not in places:
        raise RecipeError(f"from: {unknown('earlier phase', str(start), [START, *places])}")
    own = _with_places({key: value for key, value in values.items() if key not in ("name", "from")}, places)
    merged = _over(_inherited(recipe), own) | {"name": folder}
    if start != START and not {"base", "from"} & set(own.get("model") or {}):
        merged["model"] = {**merged.get("model", {}), "from": places[start]}
    parents: tuple[str, ...] = ()
    if start != START:
        parents = (*next((phase.parents for phase in before if phase.name == start), ()), start)
    whole = Recipe.parse(merged, folder=Path("/"))
    kept = _with_runs(whole.retention, [places[name] for name in parents])
    return Phase(str(values["name"]), whole.model_copy(update={"retention": kept}), parents)


def _inherited(recipe: Recipe) -> dict[str, Any]:
    """What a phase takes over: everything but name, phases, verdict, release and what is measured beside choosing,
    which are the outer run's.
    """
    own = {"name", "phases", "evaluate", "deploy", "choose"}
    return recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=own)


def _over(outer: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(outer)
    for key, value in own.items():
        before = outer.get(key)
        if key not in MERGED or not isinstance(value, dict) or not isinstance(before, dict):
            merged[key] = value
        elif key == "data" and "sources" in value:
            # columns, format and test rows belong to their files; the split puts what asks the same on the same side
            merged[key] = {"split": before["split"], **value} if "split" in before else value
        else:
            instead = {"epochs": "steps", "steps": "epochs", "base": "from"}
            dropped = {instead[name] for name in value if name in instead} - set(value)
            merged[key] = _joined({k: v for k, v in before.items() if k not in dropped}, value)
    return merged


def _joined(outer: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    both = {k: _joined(outer[k], v) for k, v in own.items() if isinstance(v, dict) and isinstance(outer.get(k), dict)}
    return {**outer, **own, **both}


def _with_places(value: Any, places: dict[str, str]) -> Any:
    """`{phase: NAME}` becomes the folder of that phase's run, wherever it stands."""
    if isinstance(value, dict):
        if set(value) == {"phase"}:
            if value["phase"] not in places:
                raise RecipeError(
                    f"{{phase: {value['phase']}}}: {unknown('earlier phase', str(value['phase']), places)}"
                )
            return places[value["phase"]]
        return {key: _with_places(inner, places) for key, inner in value.items()}
    return [_with_places(inner, places) for inner in value] if isinstance(value, list) else value


def _with_runs(choices: list[PartChoice], parents: list[str]) -> list[PartChoice]:
    """Retention parts that name nothing to keep get the phases before; in the first phase there is nothing to keep."""
    found: list[PartChoice] = []
    for choice in choices:
        part = catalog.build("retention", choice)
        if not part.needs_past or part.has_past:
            found.append(choice)
        elif parents:
            found.append({"kind": part.kind, **(choice if isinstance(choice, dict) else {}), "runs": parents})
    return found
