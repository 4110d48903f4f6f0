"""Rates by group: how far they lie apart, with intervals that hold for all pairs of groups at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunewright.core.statistics import Interval

RESAMPLES = 4000


@dataclass(frozen=True)
class Rates:
    """Something counted in each group: hits of n, in the same order. Hits may be sums of grades between 0 and 1."""

    names: tuple[str, ...]
    hits: np.ndarray
    n: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The rate of each group."""
        return self.hits / self.n


def rates(of: Sequence[str | None], hits: Sequence[float], *, least: int) -> Rates:
    """The rate of each group with at least so many rows; None belongs to no group. The largest group first."""
    names = sorted({name for name in of if name is not None})
    values = np.asarray(hits, float)
    places = {name: [at for at, one in enumerate(of) if one == name] for name in names}
    kept = sorted((name for name in names if len(places[name]) >= least), key=lambda name: (-len(places[name]), name))
    return Rates(
        tuple(kept),
        np.array([values[places[name]].sum() for name in kept]),
        np.array([len(places[name]) for name in kept], float),
    )


def gap(found: Sequence[Rates], *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """The largest difference between two groups, over all of the rates: of selection it is the demographic parity
    difference, of true and false positive rates together the equalised odds difference (Hardt, Price and Srebro 2016,
    arXiv 1610.02413).

    The largest of several differences leans upwards, and a plain bootstrap leans twice. Here the interval is the
    estimate less and more the error that 95 % of resamples make in no pair exceed: where each difference is known to
    within q, so is the largest. Resamples are binomial, from shares with half a hit and half a miss added (Jeffreys),
    so that rates of 0 and 1 are not taken for certain.
    """
    errors = np.zeros(RESAMPLES)
    for number, one in enumerate(found):
        drawn, centre = _resampled(one, seed + number)
        off = drawn - centre
        errors = np.maximum(errors, off.max(-1) - off.min(-1))
    value = max(float(one.shares.max() - one.shares.min()) for one in found)
    reach = float(np.quantile(errors, confidence))
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def ratio(found: Rates, *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """The smallest rate over the largest: the demographic parity ratio, which the four-fifths rule of the US (29 CFR
    1607.4 D) holds to 0.8. Its interval is that of `gap`, on logarithms.
    """
    drawn, centre = _resampled(found, seed)
    floor = 0.5 / (found.n + 1)  # log of a rate of 0 is not finite
    off = np.log(np.maximum(drawn, floor)) - np.log(np.maximum(centre, floor))
    reach = float(np.quantile(off.max(-1) - off.min(-1), confidence))
    largest = float(found.shares.max())
    value = float(found.shares.min()) / largest if largest > 0 else 1.0
    smoothed = np.maximum(found.shares, floor)
    least = max(value, float(smoothed.min() / smoothed.max()))
    return Interval(value, value * float(np.exp(-reach)), max(value, min(1.0, least * float(np.exp(reach)))))


def _resampled(found: Rates, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates of resamples [RESAMPLES, groups], and the shares that they were drawn around."""
    centre = (found.hits + 0.5) / (found.n + 1)
    generator = np.random.default_rng(seed)
    return generator.binomial(found.n.astype(int), centre, size=(RESAMPLES, len(centre))) / found.n, centre
