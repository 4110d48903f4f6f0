"""What is wrong with a recipe that cannot be made: each mistake one sentence, in the words of a recipe."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tunewright.core import catalog, phases
from tunewright.core.errors import RecipeError, unknown

MAPPING = "a mapping of keys"
WORDS = {
    "model": MAPPING,
    "dict": MAPPING,
    "list": "a list",
    "tuple": "a list",
    "string": "text",
    "bool": "true or false",
}
WORDS |= {"float": "a number", "int": "a whole number"}


def sentences(error: ValidationError, recipe: type[BaseModel]) -> list[str]:
    """Problems of a recipe, each a sentence with the dotted key and, for a mistyped key, the nearest known one."""
    found = []
    for problem in error.errors():
        loc = [str(step) for step in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            where = ".".join(loc[:-1])
            found.append(unknown(f"key in {where or 'the recipe'}", loc[-1], _known_keys(recipe, loc[:-1])))
        elif problem["type"] == "missing":
            found.append(f"{'.'.join(loc)} is missing from the recipe.")
        else:
            # what may be a secret is never shown, and a whole section says nothing
            hidden = loc[0:1] == ["privacy"] or loc[-1:] == ["key"] or isinstance(problem["input"], dict)
            given = "" if hidden else f", found {problem['input']!r}"
            found.append(f"{'.'.join(loc)}: {_wanted(problem)}{given}.".removeprefix(": "))
    return list(dict.fromkeys(found))


def of_parts(values: dict[str, Any]) -> list[str]:
    """What is wrong with the parts named in plain values, for a recipe that cannot be made for other reasons."""

    def under(block: str, key: str) -> list[Any]:
        section = values.get(block)
        named = section.get(key) if isinstance(section, dict) else None
        return named if isinstance(named, list) else []

    choices = [
        ("methods", values.get("method")),
        ("objectives", values.get("objective")),
        *(("retention", choice) for choice in phases.as_list(values.get("retention"))),
        *(("detectors", choice) for choice in under("data", "checks")),
        *(("graders", choice) for choice in under("evaluate", "graders")),
        *(("contestants", choice) for choice in under("evaluate", "against")),
        *(("exporters", choice) for choice in under("deploy", "formats")),
        *(("edits", choice) for choice in edits_of(values)),
    ]
    found: list[str] = []
    for family, choice in choices:
        if isinstance(choice, (str, dict)):
            try:
                catalog.build(family, choice)
            except RecipeError as error:
                found += error.problems
    return found


def edits_of(values: dict[str, Any]) -> list[Any]:
    """The edits that plain values name."""
    augment = (values.get("data") or {}).get("augment") if isinstance(values.get("data"), dict) else None
    named = augment.get("edits") if isinstance(augment, dict) else None
    return named if isinstance(named, list) else []


def place(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Where a file stops being YAML, and why, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _wanted(problem: Any) -> str:
    """What a value should have been, in the words of a recipe."""
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    kind, _, how = str(problem["type"]).partition("_")
    if kind in WORDS and how in ("type", "parsing", "from_float"):
        return f"should be {WORDS[kind]}"
    return str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "should")


def _known_keys(recipe: type[BaseModel], path: list[str]) -> list[str]:
    block = recipe
    for step in path:
        annotation = block.model_fields[step].annotation if step in block.model_fields else None
        inner = [
            a
            for a in (annotation, *getattr(annotation, "__args__", ()))
            if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if inner:
            block = inner[0]
    return [info.alias or name for name, info in block.model_fields.items()]
