"""How well personal data is found: precision, recall and F2 against rows whose spans are known, by type and in all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.privacy.found import Found

ALL = "all"  # in all, of the right type
UNTYPED = "all, whatever the type"
MEASURES = ("exact", "overlap", "characters")


@dataclass
class Count:
    """Of what was told, how much is right; of what is there, how much was found."""

    told: int = 0
    right: int = 0
    there: int = 0
    found: int = 0

    def add(self, told: int, right: int, there: int, found: int) -> None:
        """Add the counts of one text."""
        self.told += told
        self.right += right
        self.there += there
        self.found += found

    @property
    def precision(self) -> float:
        """The share of what was told that is right; 1 where nothing was told."""
        return self.right / self.told if self.told else 1.0

    @property
    def recall(self) -> float:
        """The share of what is there that was found; 1 where nothing is there."""
        return self.found / self.there if self.there else 1.0

    @property
    def f2(self) -> float:
        """F-measure that counts recall four times (beta 2)."""
        both = 4 * self.precision + self.recall
        return 5 * self.precision * self.recall / both if both else 0.0

    def row(self) -> dict[str, Any]:
        """As figures."""
        figures = {"precision": self.precision, "recall": self.recall, "f2": self.f2}
        return {name: round(figure, 4) for name, figure in figures.items()} | {"there": self.there, "told": self.told}


def score(rows: Iterable[tuple[str, Sequence[Found], Sequence[Found]]]) -> dict[str, dict[str, Count]]:
    """Counts by measure and type over (text, known, told).

    exact: same place and type. overlap: at least half of a span's characters are covered by spans of its type of the
    other side. characters: each character on its own. `UNTYPED` counts whatever was found as right, of any type.
    """
    counts: dict[str, dict[str, Count]] = {measure: defaultdict(Count) for measure in MEASURES}
    for text, known, told in rows:
        for type in {one.type for one in (*known, *told)}:
            own = [one for one in known if one.type == type], [one for one in told if one.type == type]
            for measure, four in _compared(*own).items():
                counts[measure][type].add(*four)
                counts[measure][ALL].add(*four)
        for measure, four in _compared(known, told, text).items():
            counts[measure][UNTYPED].add(*four)
    return counts


def _compared(known: Sequence[Found], told: Sequence[Found], text: str = "") -> dict[str, tuple[int, int, int, int]]:
    """told, right, there and found by measure. text: spaces of it are not counted as characters."""
    exact = {one[:2] for one in known} & {one[:2] for one in told}
    known_at, told_at = _places(known), _places(told)
    both = known_at & told_at
    return {
        "exact": (len(told), len(exact), len(known), len(exact)),
        "overlap": (len(told), _half_in(told, known_at), len(known), _half_in(known, told_at)),
        "characters": (len(told_at), len(both), len(known_at), len(both)),
    }


def _places(spans: Sequence[Found]) -> set[int]:
    return {place for one in spans for place in range(one.start, one.end)}


def _half_in(spans: Sequence[Found], places: set[int]) -> int:
    return sum(2 * len(places.intersection(range(one.start, one.end))) >= one.end - one.start for one in spans)
