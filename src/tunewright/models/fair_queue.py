"""Who is next: first come first served within a party, and between parties whoever was given the fewest tokens.

The virtual token counter of Sheng et al. 2024, "Fairness in Serving Large Language Models" (arXiv 2401.00588),
algorithm 2: a party that comes back is lifted to the least of those that wait, so that idle time saves nothing up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items in a line for each party. What an item costs at least (a prompt's tokens) is counted when it is taken;
    what it costs later (an answer's tokens) by `charge`.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[tuple[Item, float]]] = {}
        self._given: dict[str, float] = {}
        self._last = 0.0  # the count of the party whose line emptied last

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[Item]:
        """All items, line by line."""
        return (item for line in self._lines.values() for item, _ in line)

    def put(self, item: Item, *, party: str = "", cost: float = 1.0) -> None:
        """Let an item wait behind those of its party."""
        if party not in self._lines:
            least = min((self._given[other] for other in self._lines), default=self._last)
            self._given[party] = max(self._given.get(party, 0.0), least)
            self._lines[party] = deque()
        self._lines[party].append((item, cost))

    def first(self) -> Item:
        """Whose turn it is; it stays."""
        return self._lines[self._turn()][0][0]

    def take(self) -> Item:
        """Whose turn it is, out of the queue."""
        party = self._turn()
        item, cost = self._lines[party].popleft()
        self.charge(party, cost)
        self._close_if_empty(party)
        return item

    def charge(self, party: str, tokens: float) -> None:
        """Count what a party was given."""
        self._given[party] = self._given.get(party, 0.0) + tokens

    def remove(self, item: Item) -> bool:
        """Take an item out of turn, at no cost; whether it was there."""
        for party, line in self._lines.items():
            for place, (other, _) in enumerate(line):
                if other == item:
                    del line[place]
                    self._close_if_empty(party)
                    return True
        return False

    def forget(self) -> None:
        """Begin counting anew, as after a time in which nobody asked for anything."""
        self._last = 0.0
        self._given = {party: 0.0 for party in self._lines}

    def _turn(self) -> str:
        return min(self._lines, key=self._given.__getitem__)

    def _close_if_empty(self, party: str) -> None:
        if not self._lines[party]:
            del self._lines[party]
            self._last = self._given[party]
