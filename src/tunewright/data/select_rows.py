"""Chooses rows by a score: the best, unlike each other where that is asked for, even over labels where that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

POOL = 20_000  # with diversity, rows are chosen among so many of the best, or ten times as many as are chosen
POOL_TIMES = 10
Poll = Callable[[int], None]


def goodness(scores: np.ndarray, prefer: str) -> np.ndarray:
    """From 0 for the worst row to 1 for the best, by rank: scores of every scale weigh alike against likeness. A row
    without a score (nan) is among the worst.
    """
    from scipy.stats import rankdata

    scored = scores[np.isfinite(scores)]
    middle = float(np.median(scored)) if len(scored) else 0.0
    wanted = {"high": scores, "low": -scores, "middle": -np.abs(scores - middle)}[prefer]
    ranked: np.ndarray = (rankdata(np.where(np.isfinite(wanted), wanted, -np.inf)) - 1) / max(1, len(scores) - 1)
    return ranked


def chosen(
    good: np.ndarray,
    amount: int,
    *,
    diverse: float = 0.0,
    features: Callable[[np.ndarray], csr_matrix] | None = None,
    labels: Sequence[str | None] | None = None,
    poll: Poll = lambda done: None,
) -> np.ndarray:
    """The numbers of the chosen rows, ascending; of equals the first.

    diverse: the weight of likeness to what was chosen before (maximal marginal relevance, Carbonell and Goldstein
    1998): each row in turn has the largest (1 - diverse) * goodness - diverse * highest cosine with a chosen row.
    features: vectors of some rows, of length one. labels: each gets as many rows as any other, as far as it has them.
    """
    order = np.argsort(-good, kind="stable")
    of_row: Sequence[str | None] = labels if labels is not None else [None] * len(good)
    room = _room(of_row, amount)
    if diverse == 0 or features is None:
        taken = []
        for row in order.tolist():
            if room[of_row[row]] > 0:
                room[of_row[row]] -= 1
                taken.append(row)
        return np.sort(np.array(taken, int))
    pool = np.sort(_pool(order, of_row, room, amount))
    picks = _unlike(good[pool], features(pool), [of_row[row] for row in pool.tolist()], room, amount, diverse, poll)
    return np.sort(pool[picks])


def _unlike(
    good: np.ndarray,
    vectors: csr_matrix,
    labels: Sequence[str | None],
    room: dict[str | None, int],
    amount: int,
    diverse: float,
    poll: Poll,
) -> np.ndarray:
    names = {name: number for number, name in enumerate(room)}
    number_of = np.array([names[label] for label in labels])
    left = np.array(list(room.values()))
    likeness, free = np.zeros(len(good)), left[number_of] > 0
    picks: list[int] = []
    while len(picks) < amount and free.any():
        if len(picks) % 100 == 0:
            poll(len(picks))
        worth = np.where(free, (1 - diverse) * good - diverse * likeness, -np.inf)
        pick = int(worth.argmax())
        picks.append(pick)
        free[pick] = False
        left[number_of[pick]] -= 1
        if left[number_of[pick]] == 0:
            free &= number_of != number_of[pick]
        likeness = np.maximum(likeness, vectors @ vectors[pick].toarray().ravel())
    return np.array(picks, int)


def _pool(order: np.ndarray, labels: Sequence[str | None], room: dict[str | None, int], amount: int) -> np.ndarray:
    """The best rows among which is chosen: of each label in proportion to its room, never fewer than its room."""
    most = max(POOL, POOL_TIMES * amount)
    if len(order) <= most:
        return order
    allowed = {name: max(wanted, round(most * wanted / amount)) for name, wanted in room.items()}
    kept = []
    for row in order.tolist():
        if allowed[labels[row]] > 0:
            allowed[labels[row]] -= 1
            kept.append(row)
    return np.array(kept, int)


def _room(labels: Sequence[str | None], amount: int) -> dict[str | None, int]:
    """How many rows each label gives: as even as the numbers of their rows allow."""
    there = Counter(labels)
    left = min(amount, len(labels))
    room: dict[str | None, int] = {}
    rarest_first = sorted(there, key=lambda name: (there[name], str(name)))  # what one lacks the others share
    for place, name in enumerate(rarest_first):
        room[name] = min(there[name], left // (len(there) - place))
        left -= room[name]
    return room
