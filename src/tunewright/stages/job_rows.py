"""Checks the files of a fine-tuning job: every row must be of use to its method, and the first that is not is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.core import openai_graders, templates
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.openai_graders import LabelModel, ScoreModel, StringCheck, TextSimilarity
from tunewright.core.parts import Objective
from tunewright.data import formats, sources
from tunewright.stages import api_rows
from tunewright.stages.api_rows import KINDS

SHOWN = 3  # rows that an error names
_BUILT_IN = ("messages", "prompt", "expected", "label")  # of an item, beside the row's own columns


class Unusable(DataError):
    """A file that a job cannot learn from. param: training_file or validation_file."""

    def __init__(self, param: str, why: str) -> None:
        self.param = param
        super().__init__(f"The {param.replace('_', ' ')} cannot be used: {why}")


def first_row(path: Path) -> dict[str, Any]:
    """The first row of a file that can be read; empty where there is none."""
    return next((row.values for row in sources.read([str(path)]) if row.values is not None), {})


def check(param: str, path: Path, *, method: Mapping[str, Any], format: str, objective: Objective) -> int:
    """How many rows a file has. Raises Unusable, which names the first rows that are of no use."""
    bad: list[tuple[int, str]] = []
    num_rows = num_bad = 0
    named = _columns(method)
    try:
        for row in sources.read([str(path)]):
            num_rows += 1
            problem = row.problem or _other_kind(row.values or {}, format, method)
            problem = problem or _problem(row.values or {}, row.line, format, objective, named)
            if problem is not None:
                num_bad += 1
                bad += [(row.line, problem)] * (num_bad <= SHOWN)
    except DataError as error:
        raise Unusable(param, str(error).replace(str(path), "it")) from None
    if num_bad:
        more = f" (and {num_bad - len(bad):,} more rows)" if num_bad > len(bad) else ""
        raise Unusable(param, f"{_told(bad)}{more}. Mend these rows and upload the file again.")
    if not num_rows:
        raise Unusable(param, "it has no rows. Upload a file of JSON lines with at least one example.")
    return num_rows


def _told(bad: list[tuple[int, str]]) -> str:
    """Lines with their problems; one problem of several lines once."""
    if len(bad) > 1 and len({problem for _, problem in bad}) == 1:
        return f"lines {', '.join(str(line) for line, _ in bad)}: {bad[0][1]}"
    return "; ".join(f"line {line}: {problem}" for line, problem in bad)


def _other_kind(values: dict[str, Any], format: str, method: Mapping[str, Any]) -> str | None:
    """That a row is of a kind which another method learns from; None where it is not."""
    kind = api_rows.kind_of(values)
    if kind is None or kind == format:
        return None
    return f"the method '{method['type']}' learns from rows with {KINDS[format]}, found {KINDS[kind]}"


def _problem(
    values: dict[str, Any], line: int, format: str, objective: Objective, named: Mapping[str, list[str]]
) -> str | None:
    """Why a row is of no use; None where it is."""
    try:
        example = formats.to_example(format, values, {}, f"row:{line}")
    except DataError as error:
        return str(error)
    if example.media:
        return "it holds more than text, and every base here reads texts alone"
    if (lacking := objective.lacks(example)) is not None:
        return f"it lacks {lacking}"
    return _unknown_column(example, named)


def _unknown_column(example: Example, named: Mapping[str, list[str]]) -> str | None:
    for column, by in named.items():
        if column not in _BUILT_IN and column not in example.meta:
            own = ", ".join(example.meta) or "none"
            return f"it lacks '{column}', which the grader reads as {by[0]} (its own fields: {own})"
    return None


def _columns(method: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of a row that a reinforcement job's grader names, each with the paths that do."""
    if method.get("type") != "reinforcement":
        return {}
    read = openai_graders.read(dict(method["reinforcement"])["grader"], reinforcement=True)
    found: dict[str, list[str]] = {}
    for one in openai_graders.singles(read):
        texts: list[str] = []
        if isinstance(one, StringCheck | TextSimilarity):
            texts = [one.input, one.reference]
        elif isinstance(one, ScoreModel | LabelModel):
            texts = [part.text for part in one.input]
        for steps in (path for text in texts for path in templates.paths(text)):
            if steps[0] == "item" and len(steps) > 1:
                found.setdefault(str(steps[1]), []).append(".".join(map(str, steps)))
    return found
