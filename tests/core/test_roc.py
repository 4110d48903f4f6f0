"""The area under the ROC curve and the hits at few false alarms agree with direct counts, and their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from tunewright.core.roc import auc, tpr_at_fpr


def test_auc_is_sklearns_with_ties_counting_half() -> None:
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(2, 9, 40), generator.integers(0, 7, 60)
    labels = np.repeat([1, 0], [40, 60])
    oracle = roc_auc_score(labels, np.concatenate([positive, negative]))
    assert auc(positive.tolist(), negative.tolist()).value == pytest.approx(oracle, abs=1e-12)


def test_auc_has_delongs_variance() -> None:
    """Against the definition: the covariance of the structural components, pair by pair."""
    generator = np.random.default_rng(1)
    positive, negative = generator.normal(1, 1, 30), generator.normal(0, 1, 50)
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    error = np.sqrt(kernel.mean(axis=1).var(ddof=1) / 30 + kernel.mean(axis=0).var(ddof=1) / 50)
    found = auc(positive.tolist(), negative.tolist())
    logit = np.log(found.value / (1 - found.value))
    half = 1.959964 * error / (found.value * (1 - found.value))
    assert (found.low, found.high) == pytest.approx((1 / (1 + np.exp(half - logit)), 1 / (1 + np.exp(-half - logit))))


@pytest.mark.parametrize(("shift", "m", "n"), [(0.0, 60, 60), (1.0, 50, 200), (2.0, 100, 100)])
def test_auc_interval_covers(shift: float, m: int, n: int) -> None:
    generator = np.random.default_rng(2)
    truth = stats.norm.cdf(shift / 2**0.5)
    found = [auc(generator.normal(shift, 1, m).tolist(), generator.normal(0, 1, n).tolist()) for _ in range(1500)]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


def test_groups_that_do_not_overlap_are_not_told_apart_for_certain() -> None:
    apart = auc([5.0, 6.0, 7.0] * 5, [1.0, 2.0, 3.0] * 5)
    assert (apart.value, apart.high) == (1.0, 1.0)
    assert 0.7 < apart.low < 0.95
    swapped = auc([1.0, 2.0, 3.0] * 5, [5.0, 6.0, 7.0] * 5)
    assert (swapped.low, swapped.high) == pytest.approx((0.0, 1 - apart.low))
    alike = auc([1.0] * 10, [1.0] * 10)
    assert alike.low < 0.5 == alike.value < alike.high


def test_hits_are_counted_above_what_few_negatives_exceed() -> None:
    negative = [float(score) for score in range(100)]
    found = tpr_at_fpr([98.5, 99.5, 97.5, 3.0], negative, 0.01)
    assert found.value == 0.5  # one negative (99) may lie above 98
    assert (found.low, found.high) == pytest.approx(tuple(stats.binomtest(2, 4).proportion_ci()))
    assert tpr_at_fpr([50.0, 200.0], negative, 0.0).value == 0.5
    assert tpr_at_fpr([9.0, 11.0], [10.0, 10.0, 1.0], 0.01).value == 0.5  # few negatives: above the highest
    assert tpr_at_fpr([10.0], [10.0] * 100, 0.01).value == 0  # ties are no hits


def test_a_curve_needs_two_groups() -> None:
    with pytest.raises(ValueError, match="negative"):
        auc([1.0], [])
    with pytest.raises(ValueError, match="positive"):
        tpr_at_fpr([float("nan")], [1.0], 0.01)
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        tpr_at_fpr([1.0], [1.0], 1.0)
