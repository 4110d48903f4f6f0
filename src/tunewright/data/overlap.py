"""Near texts: those that share most of their runs of five characters, found exactly.

Jaccard similarity of two texts' sets of 5-grams, after normalising. Only pairs that share one of their rarest grams are
compared, which misses none: prefix filtering (Chaudhuri et al. 2006; Bayardo et al. 2007, section 4).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction

from tunewright.data import clean

GRAM = 5  # characters
_BOUNDARY = 1e-9


def grams(text: str) -> frozenset[str]:
    """The 5-grams of a text as `normalise` leaves it; of a shorter one, itself."""
    plain = clean.normalise(text)
    return frozenset(plain[at : at + GRAM] for at in range(max(1, len(plain) - GRAM + 1)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Size of the intersection over that of the union."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


class Near:
    """Texts by number, and which of them are near a given one: at least `threshold` similar."""

    def __init__(self, texts: Iterable[str] = (), *, threshold: float = 0.8) -> None:
        self.threshold = threshold
        self._exact = Fraction(str(threshold))
        self._sets: list[frozenset[str]] = [grams(text) for text in texts]
        # any fixed order of grams does; rare ones first makes the lists short
        self._count = Counter(gram for found in self._sets for gram in found)
        self._with: dict[str, list[int]] = defaultdict(list)
        for number, found in enumerate(self._sets):
            self._enter(number, found)

    def add(self, text: str) -> int:
        """Take a text in; its number."""
        self._sets.append(grams(text))
        self._enter(len(self._sets) - 1, self._sets[-1])
        return len(self._sets) - 1

    def of(self, text: str) -> Iterator[tuple[int, float]]:
        """The texts that are near this one, each with its similarity."""
        mine = grams(text)
        seen: set[int] = set()
        for gram in self._rarest(mine):
            for number in self._with.get(gram, ()):
                if number in seen:
                    continue
                seen.add(number)
                other = self._sets[number]
                if min(len(mine), len(other)) < self.threshold * max(len(mine), len(other)) - _BOUNDARY:
                    continue
                similar = jaccard(mine, other)
                if similar >= self.threshold - _BOUNDARY:
                    yield number, similar

    def _enter(self, number: int, found: frozenset[str]) -> None:
        for gram in self._rarest(found):
            self._with[gram].append(number)

    def _rarest(self, found: frozenset[str]) -> list[str]:
        """So many of the rarest grams that a near text must have one of them among its own rarest."""
        size = len(found) - math.ceil(self._exact * len(found)) + 1
        return sorted(found, key=lambda gram: (self._count.get(gram, 0), gram))[:size]
