"""What share is truly right when a judge that errs says so: its share corrected by what is known of its errors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tunewright.core.statistics import Interval, normal_quantile, wilson


def rogan_gladen(share: Interval, tpr: Interval, tnr: Interval) -> Interval:
    """The true share behind a judge's share of right answers: `(share + tnr - 1) / (tpr + tnr - 1)`.

    share: what the judge says of all rows. tpr, tnr: of the answers that people call right (wrong), the share that the
    judge calls so. Each is an interval of one confidence, Wilson's for instance, over rows of its own. Rogan and
    Gladen, American Journal of Epidemiology 107, 1978; the three errors are joined around the intervals' middles, as
    Lang and Reiczigel (Preventive Veterinary Medicine 113, 2014) do. Raises ValueError for a judge that is no better
    than chance.
    """
    better = tpr.value + tnr.value - 1
    if better <= 0:
        raise ValueError(
            f"A judge's share can be corrected only when it is better than chance, found a true positive rate of "
            f"{tpr.value:.3f} and a true negative rate of {tnr.value:.3f}."
        )
    value = min(max((share.value + tnr.value - 1) / better, 0.0), 1.0)
    youden = _middle(tpr) + _middle(tnr) - 1
    if youden <= 0 or tpr.low + tnr.low <= 1:
        return Interval(value, 0.0, 1.0)
    centre = (_middle(share) + _middle(tnr) - 1) / youden
    within = min(max(centre, 0.0), 1.0)
    half = math.hypot(_half(share), (1 - within) * _half(tnr), within * _half(tpr)) / youden
    return Interval(value, min(max(centre - half, 0.0), value), max(min(centre + half, 1.0), value))


def prediction_powered(
    all_scores: Sequence[float],
    labelled_scores: Sequence[float],
    labels: Sequence[float],
    *,
    confidence: float = 0.95,
) -> Interval:
    """The mean label of all rows, from a judge's scores of all and people's labels of some, all within [0, 1].

    `mean(all_scores) + mean(labels - labelled_scores)` (prediction-powered inference, Angelopoulos et al., Science 382,
    2023): whatever the judge, it is right on average; a good judge makes it sharp. The interval is normal, with
    Student's t for the labelled part; where judge and people never differ, Wilson's bound of none stands in for their
    spread. Raises ValueError without scores, or when scores and labels do not pair.
    """
    from scipy.special import stdtrit

    n = len(labels)
    if not len(all_scores) or not n or len(labelled_scores) != n:
        raise ValueError(
            f"Labels pair with the scores of the same rows, found {len(labelled_scores)} scores, {n} labels and "
            f"{len(all_scores)} scores of all rows."
        )
    scores = np.asarray(all_scores, dtype=np.float64)
    gaps = np.asarray(labels, dtype=np.float64) - np.asarray(labelled_scores, dtype=np.float64)
    value = float(scores.mean() + gaps.mean())
    of_scores = normal_quantile(0.5 + confidence / 2) * float(scores.std()) / math.sqrt(len(scores))
    if n > 1 and float(gaps.std()) > 1e-12:
        of_gaps = float(stdtrit(n - 1, 0.5 + confidence / 2)) * float(gaps.std(ddof=1)) / math.sqrt(n)
    else:
        of_gaps = wilson(0, n, confidence=confidence).high
    half = math.hypot(of_scores, of_gaps)
    return Interval(min(max(value, 0.0), 1.0), min(max(value - half, 0.0), 1.0), min(max(value + half, 0.0), 1.0))


def _middle(interval: Interval) -> float:
    return (interval.low + interval.high) / 2


def _half(interval: Interval) -> float:
    return (interval.high - interval.low) / 2
