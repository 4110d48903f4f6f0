"""Finds parts by family and name. A part exists when its file does: nothing is registered anywhere else."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright.core.detecting import Detector
from tunewright.core.errors import RecipeError, unknown
from tunewright.core.guarding import Guard
from tunewright.core.monitoring import Monitor
from tunewright.core.parts import Contestant, Edit, Exporter, Grader, Method, Objective, Part, Proof, Retention

FAMILIES: dict[str, type[Part]] = {
    family.family: family
    for family in (Method, Objective, Retention, Grader, Contestant, Exporter, Proof, Detector, Edit, Guard, Monitor)
}


def kinds(family: str) -> list[str]:
    """The names of all parts of a family."""
    package = importlib.import_module(f"tunewright.{family}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


@cache
def part_class(family: str, kind: str) -> type[Part]:
    """The class in `tunewright/<family>/<kind>.py`. Raises RecipeError naming the nearest word."""
    if kind not in kinds(family):
        raise RecipeError(unknown(family.rstrip("s"), kind, kinds(family)))
    module = importlib.import_module(f"tunewright.{family}.{kind}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, FAMILIES[family]) and value.__module__ == module.__name__
    ]
    assert len(own) == 1, f"{module.__name__} must define exactly one {FAMILIES[family].__name__}, found {len(own)}"
    return own[0]


def build(family: str, options: str | dict[str, Any]) -> Any:
    """Make a part from its YAML value: a name, or a mapping with `kind`. Raises RecipeError with every bad option."""
    given = {"kind": options} if isinstance(options, str) else dict(options)
    kind = given.pop("kind", None)
    word = family.rstrip("s")
    if not isinstance(kind, str):
        raise RecipeError(f"A {word} needs a name: give 'kind: NAME', one of {', '.join(kinds(family))}.")
    cls = part_class(family, kind)
    try:
        return cls(**given)
    except ValidationError as error:
        raise RecipeError(describe(error, where=kind, known=list(cls.model_fields))) from None


def located(family: str, options: str | dict[str, Any], folder: Path) -> Any:
    """The options with paths that exist relative to a folder made absolute; a bare name stays."""
    if isinstance(options, str) or (kind := options.get("kind")) not in kinds(family):
        return options

    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(one) for one in value]
        path = (folder / Path(value).expanduser()).resolve() if isinstance(value, str) else None
        return str(path) if path is not None and path.exists() else value

    named = [name for name in part_class(family, kind).paths if name in options]
    return {**options, **{name: absolute(options[name]) for name in named}}


def describe(error: ValidationError, *, where: str, known: list[str]) -> list[str]:
    """Each problem of a pydantic error as one sentence."""
    sentences = []
    for problem in error.errors():
        named = (step for step in (where, *problem["loc"]) if step and not _is_variant(step))
        path = ".".join(str(step) for step in named)
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            sentences.append(f"{unknown(f'option in {path.rpartition(chr(46))[0] or where}', name, known)}")
        elif problem["type"] == "value_error":  # a part's own words
            sentences.append(f"{path}: {problem['ctx']['error']}.".replace("..", "."))
        elif problem["type"] == "missing":
            sentences.append(f"{path} is missing. Give it.")
        else:
            wanted = problem["msg"].replace("Input should be", "should be")
            sentences.append(f"{path}: {wanted}, found {problem['input']!r}.")
    return sentences


def _is_variant(step: str | int) -> bool:
    """Whether a step of a pydantic path names one of the types that a value may have, not a key."""
    return isinstance(step, str) and (step[0].isupper() or "[" in step)
