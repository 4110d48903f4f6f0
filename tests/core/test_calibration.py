"""Calibration figures against worked values, simulations with a known truth, and sklearn."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.core import calibration


def drawn(n: int, seed: int, *, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences told by a model whose true chances are those of its log-odds over the temperature."""
    draw = np.random.default_rng(seed)
    odds = draw.normal(2.5, 1.5, n) * temperature
    right = (draw.random(n) < 1 / (1 + np.exp(-odds / temperature))).astype(float)
    return 1 / (1 + np.exp(-odds)), right


def test_the_error_is_the_weighted_mean_gap_of_the_bins() -> None:
    sure, right = [0.95, 0.99, 0.95, 0.55, 0.55], [1, 1, 0, 1, 0]
    # ((14 / 15, 1]: 3 answers, mean 0.96333, 2 right); ((8 / 15, 9 / 15]: 2 answers, mean 0.55, 1 right)
    wanted = (3 * abs(2 / 3 - 0.963333333) + 2 * abs(0.5 - 0.55)) / 5
    assert calibration.calibration_error(sure, right) == pytest.approx(wanted)
    assert calibration.calibration_error_interval(sure, right).value == pytest.approx(wanted)
    assert [one.n for one in calibration.bins(sure, right)] == [2, 3]


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    (low,) = calibration.bins([0.2], [1], count=5)
    assert (low.low, low.high) == (0.0, 0.2)
    assert calibration.bins([0.0, 1.0], [0, 1], count=5)[0].n == 1


def test_bins_agree_with_sklearn() -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    sure, right = drawn(500, 3)
    found = calibration.bins(sure, right, count=10)
    share, mean = calibration_curve(right, sure, n_bins=10)
    assert [one.right for one in found] == pytest.approx(share.tolist())
    assert [one.sure for one in found] == pytest.approx(mean.tolist())
    assert calibration.brier(sure, right) == pytest.approx(brier_score_loss(right, sure))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_that_was_used_is_found(temperature: float) -> None:
    sure, right = drawn(4000, 1, temperature=temperature)
    assert calibration.fitted_temperature(sure, right) == pytest.approx(temperature, rel=0.12)
    before, after = sure, calibration.tempered(sure, temperature)
    if temperature != 1.0:
        assert calibration.calibration_error(after, right) < calibration.calibration_error(before, right)
    assert (np.diff(after[np.argsort(before)]) >= 0).all()


def test_of_two_labels_it_is_the_softmax_at_that_temperature() -> None:
    scores = np.array([1.3, -0.4])
    softmax = np.exp(scores) / np.exp(scores).sum()
    scaled = np.exp(scores / 2.5) / np.exp(scores / 2.5).sum()
    assert calibration.tempered([softmax[0]], 2.5)[0] == pytest.approx(scaled[0])


def test_a_model_that_is_never_wrong_has_a_temperature() -> None:
    found = calibration.fitted_temperature([1.0, 0.9, 0.8], [1, 1, 1])
    assert 0 < found < 1


@pytest.mark.parametrize(("temperature", "truth"), [(1.0, 0.0), (2.0, 0.07), (3.0, 0.091)])
def test_the_interval_of_the_error_covers_the_truth(temperature: float, truth: float) -> None:
    """The truths are errors of two million rows. Simulated with 300 sets of 60, 300 and 1,000 rows: the lower end lies
    above the truth in at most 7 % and the upper end below it in at most 8 % (of 60 rows; 3 % of more).
    """
    above = below = 0
    for seed in range(100):
        found = calibration.calibration_error_interval(*drawn(300, seed, temperature=temperature), seed=seed)
        above += found.low > truth + 0.002
        below += found.high < truth - 0.002
    assert above <= 10
    assert below <= 8


def test_points_of_the_curve_answer_ever_more_rows() -> None:
    points = calibration.risk_coverage([0.9, 0.5, 0.9, 0.7], [1, 0, 1, 1])
    assert [(one.threshold, one.coverage, one.right) for one in points] == [
        (0.9, 0.5, 1.0), (0.7, 0.75, 1.0), (0.5, 1.0, 0.75),
    ]  # fmt: skip
    assert calibration.thinned(points) == points
    many = calibration.risk_coverage(np.linspace(0, 1, 500), np.ones(500))
    assert len(calibration.thinned(many)) <= 60
    assert calibration.thinned(many)[-1] == many[-1]


def test_a_safe_threshold_keeps_its_promise() -> None:
    """Right from 0.6 on in 99.9 %, below in half: the promise of 99 % is broken in at most 5 % of draws."""
    broken = found = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        sure = draw.random(1200)
        chance = np.where(sure >= 0.6, 0.999, 0.5)
        right = (draw.random(1200) < chance).astype(float)
        threshold = calibration.safe_threshold(sure, right, 0.99)
        found += threshold is not None
        if threshold is not None:
            above = np.linspace(threshold, 1, 2001)
            broken += np.where(above >= 0.6, 0.999, 0.5).mean() < 0.99
    assert found >= 120
    assert broken <= 16  # 5 % of 200, and two standard errors of luck


def test_few_rows_prove_nothing_but_may_hint() -> None:
    sure, right = np.linspace(0.5, 1, 100), np.r_[np.zeros(10), np.ones(90)]
    assert calibration.safe_threshold(sure, right, 0.99) is None
    assert calibration.likely_threshold(sure, right, 0.99) == pytest.approx(sure[10])
    assert calibration.likely_threshold([0.9, 0.8], [0, 1], 0.99) is None
