"""Tests that may be looked at after every outcome: whoever peeks as often as they like errs no oftener than allowed.

Pure functions of numbers. Each array runs over the outcomes in the order in which they came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

# The variance is found on the way. A few outcomes that happen to be alike would make it look small, above all those of
# an arm with little traffic: ten more of the largest spread that scores in [0, 1] can have are counted with them, and
# nothing is told before there are ten. Without both, an arm of a tenth of the traffic raises 16 false alarms in 100.
FEWEST = 10
PRIOR_SQUARES = FEWEST * 0.25


@dataclass(frozen=True)
class Watched:
    """An estimate after each outcome, as long as it is watched. p and the interval hold at all times together.

    estimate, p, low, high: [outcomes]. p only falls, and the interval only narrows.
    """

    estimate: np.ndarray
    p: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def decided(self, level: float) -> int | None:
        """After how many outcomes p was at the level for the first time; None when it never was."""
        below = np.flatnonzero(self.p <= level)
        return int(below[0]) + 1 if len(below) else None


def watch_mean(scores: np.ndarray, *, effect: float, level: float = 0.05, null: float = 0.0) -> Watched:
    """The mean of scores (of differences between pairs), tested against `null`. effect: see `msprt`."""
    n = np.arange(1, len(scores) + 1)
    mean, variance = _running(scores)
    return msprt(mean, np.where(n < FEWEST, math.inf, variance / n), effect=effect, level=level, null=null)


def watch_arms(scores: np.ndarray, is_second: np.ndarray, *, effect: float, level: float = 0.05) -> Watched:
    """The mean of the second arm minus that of the first, from outcomes that came in any order. effect: see `msprt`.

    Raises ValueError when an arm has none.
    """
    if is_second.all() or not is_second.any():
        raise ValueError("Two arms are compared, and one of them has no outcome.")
    means, errors = [], []
    for mine in (~is_second, is_second):
        seen = np.cumsum(mine)
        mean, variance = _running(scores[mine])
        last = np.maximum(seen - 1, 0)
        means.append(mean[last])
        errors.append(np.where(seen < FEWEST, math.inf, variance[last] / np.maximum(seen, 1)))
    return msprt(means[1] - means[0], errors[0] + errors[1], effect=effect, level=level)


def msprt(
    estimate: np.ndarray, squared_error: np.ndarray, *, effect: float, level: float = 0.05, null: float = 0.0
) -> Watched:
    """The mixture sequential probability ratio test with always-valid p and its confidence sequence.

    With s^2 the estimate's squared standard error (V / n) and tau the `effect`, the spread of the differences that are
    expected: `ratio = sqrt(s^2 / (s^2 + tau^2)) exp(tau^2 (estimate - null)^2 / (2 s^2 (s^2 + tau^2)))`, and p is
    1 / the largest ratio so far (Johari, Koomen, Pekelis and Walsh, Operations Research 70, 2022; Robbins 1970). Any
    effect is valid; one near the true difference is found soonest.
    """
    if not effect > 0:
        raise ValueError(f"An effect is a difference above 0, found {effect}.")
    known = np.isfinite(squared_error)
    error = np.where(known, squared_error, 1.0)
    whole = error + effect**2
    log_ratio = 0.5 * np.log(error / whole) + effect**2 * (estimate - null) ** 2 / (2 * error * whole)
    p = np.minimum.accumulate(np.where(known, np.minimum(1.0, np.exp(-log_ratio)), 1.0))
    reach = np.sqrt(error * whole / effect**2 * (np.log(whole / error) - 2 * math.log(level)))
    reach = np.where(known, reach, math.inf)
    low, high = np.maximum.accumulate(estimate - reach), np.minimum.accumulate(estimate + reach)
    return Watched(estimate, p, low, high)


def sprt(
    scores: np.ndarray, *, good: float, bad: float, level: float = 0.05, power: float = 0.8
) -> tuple[Literal["good", "bad", "open"], int]:
    """Whether outcomes of 0 and 1 come from a share of `good` or of `bad`, and after how many that was decided.

    Wald's sequential probability ratio test (1945): good when the log likelihood ratio reaches ln(power / level), bad
    when it falls to ln((1 - power) / (1 - level)). A share at `bad` is called good with a chance of `level` at
    most, one at `good` is called bad with a chance of 1 - power at most (both up to Wald's bounds).
    """
    if not 0 < bad < good < 1:
        raise ValueError(f"Needs 0 < bad < good < 1, found good {good} and bad {bad}.")
    ratio = np.cumsum(np.where(scores > 0.5, math.log(good / bad), math.log((1 - good) / (1 - bad))))
    upper, lower = math.log(power / level), math.log((1 - power) / (1 - level))
    beyond = np.flatnonzero((ratio >= upper) | (ratio <= lower))
    if not len(beyond):
        return "open", len(scores)
    first = int(beyond[0])
    return ("good" if ratio[first] >= upper else "bad"), first + 1


def _running(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance after each score."""
    n = np.arange(1, len(scores) + 1)
    mean = np.cumsum(scores) / n
    squares = np.maximum(np.cumsum(scores**2) - n * mean**2, 0.0)
    return mean, (squares + PRIOR_SQUARES) / n
