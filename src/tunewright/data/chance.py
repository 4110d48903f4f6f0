"""Whether one fact of a row tells its label: how often a guess from it is right, on rows that were not looked at."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

SHUFFLES = 19  # with labels shuffled as often, one in twenty facts that mean nothing is above all of them
BINS = 20


@dataclass(frozen=True)
class Guess:
    """A guess from a fact: `right` of the rows, `blind` of them when only the commonest label is known, and the best of
    the guesses with shuffled labels.
    """

    right: float
    blind: float
    shuffled: float

    @property
    def gain(self) -> float:
        """The share of what guessing blindly gets wrong that the fact puts right."""
        return (self.right - max(self.blind, self.shuffled)) / max(1e-9, 1 - max(self.blind, self.shuffled))


def codes(values: Sequence[Hashable]) -> np.ndarray:
    """Numbers for values: equal where these are."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int64)


def bins(values: np.ndarray) -> np.ndarray:
    """Numbers for ranges of values: up to BINS of about as many rows; equal values are in one."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right")


def guess(fact: np.ndarray, label: np.ndarray, *, least: float = 0.0, seed: int = 0) -> Guess:
    """Guess each half of the rows from the other: the commonest label among those of the same fact.

    fact, label: numbers from 0. A fact that the other half does not have is guessed blindly. Labels are shuffled only
    where the gain would reach `least` without.
    """
    draw = np.random.default_rng(seed)
    half = draw.permutation(len(label)) % 2 == 0
    right, blind = _right(fact, label, half)
    found = Guess(right, blind, 0.0)
    if found.gain < least:
        return found
    return Guess(right, blind, max(_right(fact, draw.permutation(label), half)[0] for _ in range(SHUFFLES)))


def _right(fact: np.ndarray, label: np.ndarray, half: np.ndarray) -> tuple[float, float]:
    right = blind = 0
    for known, asked in ((half, ~half), (~half, half)):
        commonest = int(np.bincount(label[known]).argmax())
        told = np.full(int(fact.max()) + 1, commonest)
        pairs, counts = np.unique(fact[known] * (int(label.max()) + 1) + label[known], return_counts=True)
        of, what = np.divmod(pairs, int(label.max()) + 1)
        order = np.argsort(counts, kind="stable")
        told[of[order]] = what[order]  # the last that is written is the commonest
        right += int((told[fact[asked]] == label[asked]).sum())
        blind += int((label[asked] == commonest).sum())
    return right / len(label), blind / len(label)
