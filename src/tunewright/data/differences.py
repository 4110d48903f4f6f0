"""What differs between two sets of rows: by what rows ask and answer, and by their ids."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from tunewright.core.example import Example
from tunewright.data import clean

Sides = Mapping[str, Sequence[Example]]


class Spot(NamedTuple):
    """Where a row is."""

    side: str
    number: int


@dataclass
class Difference:
    """Rows of two sets, paired. changed: what is asked stays, the answer does not. reworded: the id stays, what is
    asked does not. moved: the same row on another side.
    """

    same: int = 0
    moved: list[tuple[Spot, Spot]] = field(default_factory=list)
    changed: list[tuple[Spot, Spot]] = field(default_factory=list)
    reworded: list[tuple[Spot, Spot]] = field(default_factory=list)
    removed: list[Spot] = field(default_factory=list)
    added: list[Spot] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)  # in both, only before, only after
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)  # rows before and after, where they differ

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs but order and ids."""
        return not (self.moved or self.changed or self.reworded or self.removed or self.added)


class _Row(NamedTuple):
    spot: Spot
    id: str
    asked: bytes
    answered: bytes


def compare(before: Sides, after: Sides, *, by_side: bool = True) -> Difference:
    """Pair the rows of two sets: equal ones first (on the same side, then across), then by what they ask, then by id.

    Copies are counted: two equal rows against one are one the same and one removed. by_side: where a row stands counts.
    """
    found = Difference()
    old, new = list(_rows(before, found, 0)), list(_rows(after, found, 1))
    known, present = {row.id for row in old}, {row.id for row in new}
    shared = len(known & present)
    found.ids = {"both": shared, "only_before": len(known) - shared, "only_after": len(present) - shared}
    old, new, pairs = _paired(old, new, lambda row: (by_side and row.spot.side, row.asked, row.answered))
    found.same = len(pairs)
    old, new, found.moved = _paired(old, new, lambda row: (row.asked, row.answered))
    old, new, found.changed = _paired(old, new, lambda row: row.asked)
    old, new, found.reworded = _paired(old, new, lambda row: row.id)
    found.removed, found.added = [row.spot for row in old], [row.spot for row in new]
    found.labels = {label: counts for label, counts in found.labels.items() if counts[0] != counts[1]}
    return found


def _rows(sides: Sides, found: Difference, place: int) -> Iterable[_Row]:
    labels: Counter[str] = Counter()
    for side, examples in sides.items():
        for number, example in enumerate(examples):
            if example.label is not None:
                labels[example.label] += 1
            label = "" if example.label is None or example.label == example.answer else example.label
            asked, answered = clean.prompt_text(example), f"{clean.answer_text(example)}\x1d{label}"
            yield _Row(Spot(side, number), example.id, _digest(asked), _digest(answered))
    for label, count in labels.items():
        counts = found.labels.get(label, (0, 0))
        found.labels[label] = (count, counts[1]) if place == 0 else (counts[0], count)


def _paired(
    old: list[_Row], new: list[_Row], key: Callable[[_Row], object]
) -> tuple[list[_Row], list[_Row], list[tuple[Spot, Spot]]]:
    """Rows of equal keys paired in their order, and what is left of both."""
    waiting: dict[object, list[_Row]] = defaultdict(list)
    for row in reversed(old):
        waiting[key(row)].append(row)
    pairs, left = [], []
    for row in new:
        if waiting.get(key(row)):
            pairs.append((waiting[key(row)].pop().spot, row.spot))
        else:
            left.append(row)
    unpaired = {id(row) for rows in waiting.values() for row in rows}
    return [row for row in old if id(row) in unpaired], left, pairs


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8"), digest_size=16).digest()
