"""Whether confidences mean what they say, and which answers can be left to a model. Pure functions of numbers.

sure: the confidence of each answer, 0 to 1. right: whether each answer is right, 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunewright.core.statistics import RESAMPLES, Interval

BINS = 15
_EDGE = 1e-6  # confidences this near to 0 or 1 count as this far from it: log-odds stay finite
_MOST_POINTS = 60  # of a risk-coverage curve

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence: its edges, how many, their mean confidence, the share that is right."""

    low: float
    high: float
    n: int
    sure: float
    right: float


@dataclass(frozen=True)
class Point:
    """What comes of answering only where the confidence reaches the threshold: the share of rows that are answered,
    and the share of those that are right.
    """

    threshold: float
    coverage: float
    right: float


def bins(sure: Numbers, right: Numbers, *, count: int = BINS) -> list[Bin]:
    """Bins of equal width, ((m - 1) / M, m / M], those that hold answers (Guo et al. 2017, arXiv 1706.04599, eq. 1)."""
    confidence, correct = np.asarray(sure, float), np.asarray(right, float)
    of = _bin_of(confidence, count)
    return [
        Bin(
            number / count,
            (number + 1) / count,
            int((of == number).sum()),
            float(confidence[of == number].mean()),
            float(correct[of == number].mean()),
        )
        for number in np.unique(of).tolist()
    ]


def calibration_error(sure: Numbers, right: Numbers, *, count: int = BINS) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the bins (Guo et al., eq. 3)."""
    return sum(one.n * abs(one.right - one.sure) for one in bins(sure, right, count=count)) / len(sure)


def calibration_error_interval(
    sure: Numbers, right: Numbers, *, count: int = BINS, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The error with its interval, from resamples of right and wrong in each bin (binomial; half a right and half a
    wrong answer added, so that a bin that is always right is not taken for certain).

    The estimate leans upwards where rows are few: each bin's noise counts as an error. So the lower end takes off the
    noise that 95 % of resamples do not exceed, which a well calibrated model's error does not either; the upper end is
    the basic bootstrap's (Davison and Hinkley 1997, section 5.2), which takes off the lean that resamples add.
    """
    found = bins(sure, right, count=count)
    n, mean, share = (np.array([getattr(one, name) for one in found]) for name in ("n", "sure", "right"))
    centre = (share * n + 0.5) / (n + 1)
    drawn = np.random.default_rng(seed).binomial(n, centre, size=(RESAMPLES, len(found))) / n
    value = float((n * np.abs(share - mean)).sum() / n.sum())
    noise = (n * np.abs(drawn - centre)).sum(-1) / n.sum()
    errors = (n * np.abs(drawn - mean)).sum(-1) / n.sum()
    low = value - float(np.quantile(noise, confidence))
    high = 2 * value - float(np.quantile(errors, (1 - confidence) / 2))
    return Interval(value, max(0.0, low), min(1.0, max(value, high)))


def _bin_of(confidence: np.ndarray, count: int) -> np.ndarray:
    return np.clip(np.ceil(confidence * count).astype(int) - 1, 0, count - 1)


def brier(sure: Numbers, right: Numbers) -> float:
    """Mean squared distance of confidence and right or wrong (Brier 1950, of the answer that was given)."""
    return float(np.mean((np.asarray(sure, float) - np.asarray(right, float)) ** 2))


def tempered(sure: Numbers, temperature: float) -> np.ndarray:
    """Confidences whose log-odds are divided by the temperature: above 1 the model is less sure. Their order stays."""
    return 1 / (1 + np.exp(-_log_odds(sure) / temperature))


def fitted_temperature(sure: Numbers, right: Numbers) -> float:
    """The temperature under which right and wrong are likeliest, between 0.05 and 20.

    Temperature scaling (Guo et al. 2017, section 4.2) of the answer's own log-odds: of two labels it is the same as
    scaling all their scores, of more it needs no other label's score.
    """
    from scipy.optimize import minimize_scalar

    odds, sign = _log_odds(sure), 2 * np.asarray(right, float) - 1

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -sign * odds / math.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return math.exp(float(found.x))


def _log_odds(sure: Numbers) -> np.ndarray:
    clipped = np.clip(np.asarray(sure, float), _EDGE, 1 - _EDGE)
    return np.log(clipped) - np.log1p(-clipped)


# --- selective answers ---


def risk_coverage(sure: Numbers, right: Numbers) -> list[Point]:
    """One point for each confidence that occurs, the highest first (El-Yaniv and Wiener 2010)."""
    confidence, correct = np.asarray(sure, float), np.asarray(right, float)
    order = np.argsort(-confidence, kind="stable")
    ranked, hits = confidence[order], np.cumsum(correct[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of the answers with one confidence
    return [Point(float(ranked[at]), (at + 1) / len(ranked), float(hits[at]) / (at + 1)) for at in last.tolist()]


def thinned(points: Sequence[Point]) -> list[Point]:
    """As many of them as a picture needs, the first and the last among them."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    places = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int))
    return [points[place] for place in places.tolist()]


def safe_threshold(sure: Numbers, right: Numbers, at: float, *, level: float = 0.05) -> float | None:
    """The lowest threshold whose answers are right at least this often, proven at the level; None where none is.

    Thresholds are tried from the highest down, on the answers above each, until one fails the exact binomial test of
    "right less often than that": fixed-sequence testing, which needs no correction (Angelopoulos et al. 2021, Learn
    then Test, arXiv 2110.01052). The first is tried where even without a mistake the test could say yes.
    """
    from scipy.stats import binom

    found, least = None, math.ceil(math.log(level) / math.log(at)) if at < 1 else math.inf
    for point in risk_coverage(sure, right):
        n = round(point.coverage * len(sure))
        if n < least:
            continue
        if binom.sf(round(point.right * n) - 1, n, at) > level:
            break
        found = point.threshold
    return found


def likely_threshold(sure: Numbers, right: Numbers, at: float) -> float | None:
    """The lowest threshold above which at least this share was right, whatever luck did; None where there is none."""
    return next((point.threshold for point in reversed(risk_coverage(sure, right)) if point.right >= at), None)
