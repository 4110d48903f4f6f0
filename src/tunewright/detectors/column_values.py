"""Columns beside the text: empty values, one value everywhere, and groups that a side lacks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example

_LEAST_ROWS = 20  # fewer rows say nothing about a column
_MOST_VALUES = 50  # more different values are no groups
_EXPECTED = 7.0  # rows of a group on a side: one in a thousand is empty of it by chance (e^-7)
_SHOWN = 5
_EMPTY = ("", "null", "none", "nan", "n/a", "na", "-")


class ColumnValues(Detector):
    """Looks at the columns that became no part of the conversation: slices and groups are found among them."""

    fixes: ClassVar[tuple[str, ...]] = ("constant_columns",)

    filled: float = Field(0.5, gt=0, lt=1, description="share of rows with a value from which on an empty one is told")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self.filled, scene)


class _Watch:
    """Counts values by column and side, as long as they are few."""

    def __init__(self, filled: float, scene: Scene) -> None:
        self.filled, self.scene = filled, scene
        self.num: Counter[str] = Counter()  # rows of a side
        self.having: Counter[str] = Counter()  # rows with a value, by column
        self.values: dict[str, Counter[tuple[str, str]] | None] = {}  # (side, value); None: too many
        self.known: dict[str, set[str]] = {}

    def see(self, row: Seen) -> None:
        """Count the values of a row."""
        self.num[row.side] += 1
        for name, value in row.example.meta.items():
            if is_empty(value):
                self.having.setdefault(name, 0)
                continue
            self.having[name] += 1
            counts = self.values.setdefault(name, Counter())
            if counts is None:
                continue
            text = str(value)[:200]
            known = self.known.setdefault(name, set())
            known.add(text)
            if len(known) > _MOST_VALUES:
                self.values[name] = None
                known.clear()
            else:
                counts[row.side, text] += 1

    def faults(self) -> Iterable[Fault]:
        """Empty values, columns that tell nothing, groups that are missing."""
        total = self.num.total()
        if total < _LEAST_ROWS:
            return
        used = {self.scene.data.split.group, self.scene.data.split.time}
        few = {name: counts for name, counts in self.values.items() if counts is not None}
        gaps = sorted(n for n, count in self.having.items() if self.filled * total <= count < total and n not in used)
        constant = sorted(
            name for name, count in self.having.items()
            if name not in used and (not count or (count == total and len(self.known[name]) == 1 and name in few))
        )  # fmt: skip
        if gaps:
            yield self._gaps(gaps, total)
        if constant:
            yield self._constant(constant, total)
        yield from self._missing(few, used)

    def _rows(self, wanted: Any) -> list[int]:
        every = np.sort(np.concatenate(list(self.scene.sides.values())))
        return [n for n, e in zip(every.tolist(), self.scene.examples(every), strict=True) if wanted(e)]

    def _gaps(self, names: list[str], total: int) -> Fault:
        return Fault(
            name="empty_values",
            message=f"Columns that most rows fill in are empty in some: {_list(names)}.",
            rows=self._rows(lambda example: any(is_empty(example.meta.get(name)) for name in names)),
            example=f"{names[0]}: {total - self.having[names[0]]:,} of {total:,} rows have no value",
            remedy="Fill them in where a slice or a group rests on them: rows without one are in no slice.",
        )

    def _constant(self, names: list[str], total: int) -> Fault:
        shown = next(iter(self.known.get(names[0]) or {"nothing"}))
        return Fault(
            name="constant_columns",
            message=f"Columns that say the same in every row: {_list(names)}.",
            rows=np.sort(np.concatenate(list(self.scene.sides.values()))),
            count=total,
            example=f"{names[0]}: {shown[:80]}",
            remedy="Leave them out: they tell no rows apart.",
            fix="leave the columns out",
            change=partial(without_columns, names=frozenset(names)),
        )

    def _missing(self, few: dict[str, Counter[tuple[str, str]]], used: set[str | None]) -> Iterable[Fault]:
        total = self.num.total()
        told: dict[tuple[str, str], list[str]] = {}
        for name, counts in few.items():
            if name in used:
                continue
            for value in sorted(self.known[name]):
                count = sum(counts[side, value] for side in self.num)
                lacking = [
                    side for side in self.num
                    if not counts[side, value] and count * self.num[side] / total >= _EXPECTED
                ]  # fmt: skip
                if lacking:
                    told[name, value] = lacking
        if not told:
            return
        (name, value), sides = next(iter(told.items()))
        yield Fault(
            name="missing_groups",
            severity="warning",
            message=(
                f"{len(told):,} values of columns are missing on a side, where chance would have put some: "
                f"{_list([f'{name} = {value}' for name, value in told])}."
            ),
            rows=self._rows(
                lambda example: any(
                    (name, str(value)[:200]) in told for name, value in example.meta.items() if not is_empty(value)
                )
            ),
            example=f"{name} = {value}: no row on the side {', '.join(sides)}",
            remedy="Take the sides from the same rows, or add such rows: a group that is not there is not measured.",
        )


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: empty, null, NaN, or a word for it."""
    if isinstance(value, str):
        return len(value) < 6 and value.strip().lower() in _EMPTY
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == [] or value == {}


def without_columns(example: Example, names: frozenset[str]) -> Example:
    """The row without some of its unused columns."""
    meta = {name: value for name, value in example.meta.items() if name not in names}
    return example if len(meta) == len(example.meta) else example.model_copy(update={"meta": meta})


def _list(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
