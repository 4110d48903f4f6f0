"""Texts with `{{item.x}}` and `{{sample.y}}` in them: paths into plain values, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

NAMESPACES = ("item", "sample")
_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]|\[(?:'([^'\]]*)'|\"([^\"\]]*)\")\]")
_SAMPLE = ("output_text", "output_json", "choices")


class Missing(LookupError):
    """A path leads nowhere in the values of a row. path: which; its first step tells whose fault that is."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"'{path}' is not there")


def problems(text: str) -> list[str]:
    """What is wrong with a template, each one sentence."""
    found = []
    for match in _HOLE.finditer(text):
        told = match.group(1).strip()
        steps = _steps(told)
        if steps is None or steps[0] not in NAMESPACES or len(steps) < 2:
            found.append(f"'{{{{{told}}}}}' is no path; write {{{{item.column}}}} or {{{{sample.output_text}}}}.")
        elif steps[0] == "sample" and steps[1] not in _SAMPLE:
            found.append(f"'{{{{{told}}}}}' names nothing of a sample; it has {', '.join(_SAMPLE)}.")
    return found


def paths(text: str) -> list[list[str | int]]:
    """The paths that a template names, each as its steps."""
    found = (_steps(match.group(1).strip()) for match in _HOLE.finditer(text))
    return [steps for steps in found if steps is not None]


def render(text: str, values: Mapping[str, Any]) -> str:
    """The text with its holes filled: strings as they are, everything else as JSON; no hole is looked for in what was
    filled in. Raises Missing.
    """
    return _HOLE.sub(lambda match: _shown(value_of(match.group(1).strip(), values)), text)


def _steps(path: str) -> list[str | int] | None:
    """`item.a[0]['b']` as its steps; None where it is no path."""
    first = re.match(r"[A-Za-z_]\w*", path)
    if first is None:
        return None
    steps: list[str | int] = [first.group(0)]
    at = first.end()
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        name, number, single, double = step.groups()
        steps.append(
            int(number) if number is not None else next(one for one in (name, single, double) if one is not None)
        )
        at = step.end()
    return steps


def value_of(path: str, values: Mapping[str, Any]) -> Any:
    """What a path such as `item.a[0]` leads to. Raises Missing."""
    steps = _steps(path)
    if steps is None:
        raise Missing(path)
    value: Any = values
    for step in steps:
        try:
            value = value[step]
        except (LookupError, TypeError):
            raise Missing(path) from None
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
