"""Intervals, paired tests and sample sizes behind the verdict. Pure functions of numbers; scipy is loaded when used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
MOST_ROWS = 100_000  # more rows than this are not worth asking for; sentences say so
_CHUNK_CELLS = 4_000_000  # resampled rows held at once: 32 MB of float64

Values = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval at some confidence (95 % unless told otherwise)."""

    value: float
    low: float
    high: float

    def plain(self, digits: int | None = None) -> dict[str, Any]:
        """Its three numbers by name, as figures and reports hold them; rounded where digits are given."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return numbers if digits is None else {name: round(number, digits) for name, number in numbers.items()}


@dataclass(frozen=True)
class Difference(Interval):
    """A paired difference, its interval, the two-sided p of "no difference", and its standard error."""

    p: float
    error: float


def normal_quantile(share: float) -> float:
    """The standard normal quantile."""
    from scipy.special import ndtri

    return float(ndtri(share))


# --- right or wrong ---


def wilson(successes: float, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (Wilson 1927). Successes may be a sum of grades between 0 and 1."""
    _check(successes, n)
    z = normal_quantile(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high)


def clopper_pearson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """The exact interval of a share (Clopper and Pearson 1934): covers at least as often as it says, so it is wide."""
    from scipy.stats import beta

    _check(successes, n)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return Interval(successes / n, low, high)


def most_failures(failures: int, n: int, *, confidence: float = 0.95) -> float:
    """The share of failures that is not exceeded, at this confidence: the exact one-sided bound (Clopper and Pearson
    1934). None of n leaves 1 - (1 - confidence)^(1/n), near 3/n at 95 %.
    """
    from scipy.stats import beta

    _check(failures, n)
    return 1.0 if failures == n else float(beta.ppf(confidence, failures + 1, n - failures))


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p (McNemar 1947) from the rows that only one side got right: twice the smaller binomial tail."""
    from scipy.stats import binom

    if wins < 0 or losses < 0:
        raise ValueError(f"Counts cannot be negative, found {wins} wins and {losses} losses.")
    return min(1.0, 2 * float(binom.cdf(min(wins, losses), wins + losses, 0.5)))


def tango(wins: int, losses: int, n: int, margin: float) -> float:
    """Two-sided p of "the share is lower by exactly the margin" on n paired rows: Tango's score test (Statistics in
    Medicine 17, 1998). Half of it is the one-sided p of "it is lower by the margin or more" where the difference found
    is above -margin, and of the contrary where it is below. margin in (0, 1).
    """
    from scipy.special import ndtr

    if not 0 < margin < 1 or wins < 0 or losses < 0 or wins + losses > n:
        raise ValueError(f"A margin lies in (0, 1), found {margin}, with {wins} wins and {losses} losses of {n}.")
    linear = -wins - losses - (2 * n - wins + losses) * margin
    constant = losses * margin * (1 + margin)
    lost = (math.sqrt(linear * linear - 8 * n * constant) - linear) / (4 * n)  # share of losses if the margin is true
    spread = n * (2 * lost - margin * (1 + margin))
    return float(2 * ndtr(-abs(wins - losses + n * margin) / math.sqrt(spread)))


def mcnemar_power(n: int, win_rate: float, loss_rate: float, *, level: float = 0.05) -> float:
    """The chance that exact McNemar finds the difference on n rows, when these shares of rows are won and lost."""
    from scipy.stats import binom

    discordant = win_rate + loss_rate
    if not 0 < discordant <= 1:
        raise ValueError(f"Win and loss rates must add up to a share in (0, 1], found {discordant:g}.")
    power = 0.0
    for total in range(n + 1):
        chance = float(binom.pmf(total, n, discordant))
        if chance < 1e-12 or total == 0:
            continue
        wins = np.arange(total + 1)
        p = np.minimum(1.0, 2 * binom.cdf(np.minimum(wins, total - wins), total, 0.5))
        power += chance * float(binom.pmf(wins, total, win_rate / discordant)[p <= level].sum())
    return power


def paired_shares(
    both: int, wins: int, losses: int, neither: int, *, margin: float = 0.0, confidence: float = 0.95
) -> Difference:
    """Difference of two shares on the same rows: Newcombe's interval (1998, method 10) and McNemar's p; with a margin
    the p of "lower by the margin" (`tango`).
    """
    n = both + wins + losses + neither
    first, second = wilson(both + wins, n, confidence=confidence), wilson(both + losses, n, confidence=confidence)
    margins = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    cross = float(both * neither - wins * losses)
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    correlation = cross / math.sqrt(margins) if margins else 0.0
    difference = (wins - losses) / n

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one * one - 2 * correlation * one * other + other * other, 0.0))

    low = difference - reach(first.value - first.low, second.high - second.value)
    high = difference + reach(first.high - first.value, second.value - second.low)
    error = math.sqrt(max((wins + losses) / n - difference**2, 0.0) / n)
    p = tango(wins, losses, n, margin) if margin else mcnemar(wins, losses)
    return Difference(difference, max(-1.0, low), min(1.0, high), p, error)


# --- any value computed from totals ---


def bootstrap(
    tally: np.ndarray, value: Values, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """BCa bootstrap interval (Efron 1987) of a value in [0, 1] that is a function of totals over rows.

    tally: [rows, parts], what each row adds. value: totals [..., parts] -> values [...]. The tails are widened for few
    rows as Student's t is (Hesterberg 2015, section 5.1). Where resampling cannot move the value (all rows alike),
    Wilson's interval stands in: a share has the largest spread a mean in [0, 1] can have.
    """
    from scipy.special import ndtr, ndtri

    n = len(tally)
    _check(0, n)
    total = tally.sum(axis=0)
    estimate = float(value(total))
    drawn = value(_resampled(tally, resamples, seed))
    if float(drawn.max() - drawn.min()) < 1e-12:
        return wilson(min(max(estimate, 0.0), 1.0) * n, n, confidence=confidence)
    ties = np.abs(drawn - estimate) <= 1e-12
    below = (np.count_nonzero((drawn < estimate) & ~ties) + 0.5 * np.count_nonzero(ties)) / resamples
    bias = ndtri(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    left_out = value(total - tally)
    away = left_out.mean() - left_out
    spread = float((away**2).sum())
    acceleration = float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    edges = []
    reach = widened(confidence, n)
    for quantile in (-reach, reach):
        shifted = bias + quantile
        edges.append(float(ndtr(bias + shifted / (1 - acceleration * shifted))))
    low, high = np.quantile(drawn, edges)
    return Interval(estimate, float(min(low, estimate)), float(max(high, estimate)))


def by_cluster(tally: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """The rows of each cluster added up: [clusters, parts]. Resampling these draws whole clusters, with all their rows,
    so that rows that depend on each other (one conversation, one template) do not count as so many witnesses; a value
    made from totals stays what it was.
    """
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    gathered = np.zeros((int(place.max()) + 1, tally.shape[1]))
    np.add.at(gathered, place, tally)
    return gathered


def widened(confidence: float, n: int) -> float:
    """How many standard errors a bootstrap interval reaches: Student's t quantile, times sqrt(n / (n - 1))."""
    from scipy.special import stdtrit

    return math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, 0.5 + confidence / 2)) if n > 1 else math.inf


def paired_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    value: Values,
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference of a value between two tallies over the same rows: percentile interval, and the p that inverts it.

    p is never smaller than a sign-flip test on the rows that differ could give (2 ** (1 - rows)), so that three lucky
    rows decide nothing. With a margin it is the p of "lower by exactly the margin"; then it is never smaller than the
    chance that n rows show none of the losses that a difference of -margin is made of, 2 (1 - margin)^n, unless
    "no difference" is rejected as surely.
    """
    n, parts = first.shape
    _check(0, n)
    drawn = _resampled(np.hstack([first, second]), resamples, seed)
    differences = value(drawn[:, :parts]) - value(drawn[:, parts:])
    estimate = float(value(first.sum(axis=0)) - value(second.sum(axis=0)))
    differing = int(np.count_nonzero(np.abs(first - second).max(axis=1) > 1e-12))
    p = max(_beyond(differences), 2.0 ** (1 - differing))
    if margin and estimate > -margin:
        no_worse = max(_beyond(differences + margin), 2 * (1 - margin) ** n)
        p = min(p, no_worse) if estimate > 0 else no_worse
    elif margin:
        p = max(_beyond(differences + margin), 2.0 ** (1 - differing))
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(estimate, float(low), float(high), min(1.0, p), float(differences.std()))


def _beyond(drawn: np.ndarray) -> float:
    """Twice the share of resampled differences on the rarer side of zero."""
    tails = (np.count_nonzero(drawn <= 1e-12), np.count_nonzero(drawn >= -1e-12))
    return 2 * (min(tails) + 1) / (len(drawn) + 1)


def joint_covariance(
    tallies: Sequence[np.ndarray], value: Values, *, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """How the values of several tallies over the same rows vary together when other rows are drawn: [K, K], by the
    bootstrap over rows (Efron and Tibshirani 1993, chapter 8). Rows that are hard for all make them vary alike.
    """
    parts = tallies[0].shape[1]
    drawn = _resampled(np.hstack(tallies), resamples, seed)
    values = np.stack([value(drawn[:, at * parts : (at + 1) * parts]) for at in range(len(tallies))])
    return np.atleast_2d(np.cov(values))


def _resampled(tally: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Totals of rows drawn with replacement: [resamples, parts]."""
    generator = np.random.default_rng(seed)
    n = len(tally)
    tally = np.ascontiguousarray(tally, dtype=np.float64)
    step = max(1, min(resamples, _CHUNK_CELLS // n))
    totals = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        picks = generator.integers(0, n, size=(size, n))
        picks += np.arange(size)[:, None] * n
        times = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n)
        totals.append(times.astype(np.float64) @ tally)
    return np.concatenate(totals)


# --- several tests, and how many rows would decide ---


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the order given: the chance of any false win stays below the level."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def rows_for_threshold(value: float, threshold: float, *, level: float = 0.05, power: float = 0.8) -> int | None:
    """Rows after which a share of `value` would be told from `threshold`; None when they are equal."""
    if value == threshold:
        return None
    if_at_bar, if_as_measured = math.sqrt(threshold * (1 - threshold)), math.sqrt(value * (1 - value))
    spread = _z(level) * if_at_bar + normal_quantile(power) * if_as_measured
    return math.ceil(spread**2 / (value - threshold) ** 2)


def rows_for_pairs(
    win_rate: float, loss_rate: float, *, margin: float = 0.0, level: float = 0.05, power: float = 0.8
) -> int | None:
    """Rows after which McNemar's test would find the difference (Connor 1987), or with a margin that it is above
    -margin; None when wins and losses are equal (or the difference is exactly -margin).
    """
    difference, discordant = win_rate - loss_rate, win_rate + loss_rate
    if difference == -margin:
        return None
    if_at_margin = math.sqrt(max(discordant, margin) - margin**2)
    if_as_measured = math.sqrt(max(discordant - difference**2, 0.0))
    spread = _z(level) * if_at_margin + normal_quantile(power) * if_as_measured
    return math.ceil(spread**2 / (difference + margin) ** 2)


def rows_for_error(difference: float, error: float, n: int, *, level: float = 0.05, power: float = 0.8) -> int | None:
    """Rows after which a difference with this standard error on n rows would be found; None when it is zero."""
    if difference == 0:
        return None
    return math.ceil(n * ((_z(level) + normal_quantile(power)) * error / difference) ** 2)


def _z(level: float) -> float:
    return normal_quantile(1 - level / 2)


def _check(successes: float, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"An interval needs rows and 0 <= successes <= rows, found {successes} of {n}.")
