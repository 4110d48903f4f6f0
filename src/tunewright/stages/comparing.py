"""Compares two sets of rows for a person: counts, a few rows of each kind, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.core.example import Example
from tunewright.core.report import Report
from tunewright.data import clean
from tunewright.data.differences import Difference, Sides, Spot, compare
from tunewright.stages import looking

SHOWN = 5  # rows of each kind
LONGEST = 90  # characters of one text


def diff(before: str | Path, after: str | Path, *, runs: str | Path = "runs") -> Report:
    """What differs between two runs, versions or files. Raises NotThere, DataError."""
    old, new = looking.sides_of(before, runs=runs), looking.sides_of(after, runs=runs)
    found = compare(old, new, by_side=looking.RAW not in (*old, *new))
    numbers: dict[str, Any] = {
        "before": _counts(str(before), old),
        "after": _counts(str(after), new),
        "rows": {
            "same": found.same,
            "moved": len(found.moved),
            "changed": len(found.changed),
            "reworded": len(found.reworded),
            "removed": len(found.removed),
            "added": len(found.added),
        },
        "ids": found.ids,
        "labels": dict(sorted(found.labels.items(), key=lambda pair: -abs(pair[1][0] - pair[1][1]))),
        "examples": _examples(found, old, new),
    }
    return Report(stage="data diff", run=str(after), numbers=numbers)


def _counts(name: str, sides: Sides) -> dict[str, Any]:
    by_side = {side: len(examples) for side, examples in sides.items()}
    return {"name": name, "rows": sum(by_side.values()), "sides": by_side}


def _examples(found: Difference, old: Sides, new: Sides) -> dict[str, list[str]]:
    def at(sides: Sides, spot: Spot) -> Example:
        rows: Sequence[Example] = sides[spot.side]
        return rows[spot.number]

    def line(one: Example) -> str:
        return f"{one.id}: {_short(clean.prompt_text(one))} -> {_short(_answer(one))}"

    return {
        "moved": [f"{line(at(new, now))} ({was.side} -> {now.side})" for was, now in found.moved[:SHOWN]],
        "changed": [f"{line(at(old, was))} => {_short(_answer(at(new, now)))}" for was, now in found.changed[:SHOWN]],
        "reworded": [
            f"{line(at(old, was))} => {_short(clean.prompt_text(at(new, now)))}" for was, now in found.reworded[:SHOWN]
        ],
        "removed": [line(at(old, spot)) for spot in found.removed[:SHOWN]],
        "added": [line(at(new, spot)) for spot in found.added[:SHOWN]],
    }


def _answer(example: Example) -> str:
    return example.answer or example.label or ""


def _short(text: str) -> str:
    one_line = " ".join(text.replace("\x1e", " ").split())
    return one_line if len(one_line) <= LONGEST else f"{one_line[:LONGEST]}..."
