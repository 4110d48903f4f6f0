"""How well a score tells two groups apart: the area under the ROC curve, and the hits at few false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tunewright.core.statistics import Interval, clopper_pearson, normal_quantile


def auc(positive: Sequence[float], negative: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The chance that a positive scores above a negative, ties counting half, with DeLong's interval.

    The standard error is DeLong, DeLong and Clarke-Pearson's (Biometrics 44, 1988), taken on the logit scale so that
    the ends stay inside [0, 1] (Qin and Hotilovac 2008). Where one group lies wholly above the other it is 0; then the
    score interval of Newcombe (Statistics in Medicine 25, 2006, method 5) stands in. Raises ValueError when a group
    is empty.
    """
    from scipy.stats import rankdata

    above, below = _group(positive, "positive"), _group(negative, "negative")
    m, n = len(above), len(below)
    together = rankdata(np.concatenate([above, below]))
    of_positives = (together[:m] - rankdata(above)) / n  # for each positive the share of negatives below it
    of_negatives = 1 - (together[m:] - rankdata(below)) / m
    value = float(of_positives.mean())
    variance = _variance(of_positives) / m + _variance(of_negatives) / n
    if variance <= 1e-12 or min(m, n) < 2 or not 0 < value < 1:
        return _score_interval(value, m, n, confidence)
    logit = math.log(value / (1 - value))
    half = normal_quantile(0.5 + confidence / 2) * math.sqrt(variance) / (value * (1 - value))
    return Interval(value, _logistic(logit - half), _logistic(logit + half))


def tpr_at_fpr(
    positive: Sequence[float], negative: Sequence[float], fpr: float, *, confidence: float = 0.95
) -> Interval:
    """The share of positives above the lowest threshold that at most a share `fpr` of the negatives exceeds.

    The interval is exact (Clopper and Pearson 1934) for that threshold; that the threshold itself was found on the
    negatives is not in it. With fewer than 1 / fpr negatives the threshold is the highest of them. Raises ValueError
    when a group is empty or fpr is outside [0, 1).
    """
    if not 0 <= fpr < 1:
        raise ValueError(f"A rate of false alarms lies in [0, 1), found {fpr}.")
    above, below = _group(positive, "positive"), np.sort(_group(negative, "negative"))[::-1]
    threshold = below[math.floor(fpr * len(below) + 1e-9)]
    return clopper_pearson(int(np.count_nonzero(above > threshold)), len(above), confidence=confidence)


def _group(scores: Sequence[float], which: str) -> np.ndarray:
    found = np.asarray(scores, dtype=np.float64)
    if not len(found) or not np.isfinite(found).all():
        raise ValueError(f"A ROC curve needs finite {which} scores, found {len(found)} of which some are none.")
    return found


def _variance(shares: np.ndarray) -> float:
    return float(shares.var(ddof=1)) if len(shares) > 1 else 0.0


def _score_interval(value: float, m: int, n: int, confidence: float) -> Interval:
    """The areas at most z standard errors (Hanley and McNeil 1982) from the one found."""
    from scipy.optimize import brentq

    z = normal_quantile(0.5 + confidence / 2)

    def beyond(area: float) -> float:
        spread = (1 - area) / (2 - area) + area / (1 + area)
        variance = area * (1 - area) * (1 + ((m + n) / 2 - 1) * spread) / (m * n)
        return (value - area) ** 2 - z * z * variance

    low = 0.0 if value <= 0 else float(brentq(beyond, 1e-12, min(value, 1 - 1e-9)))
    high = 1.0 if value >= 1 else float(brentq(beyond, max(value, 1e-9), 1 - 1e-12))
    return Interval(value, low, high)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
