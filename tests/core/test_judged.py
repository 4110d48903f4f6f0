"""A judge's share is corrected to the truth, and the corrected intervals cover it."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.core.judged import prediction_powered, rogan_gladen
from tunewright.core.statistics import Interval, wilson


def test_a_perfect_judge_needs_no_correction() -> None:
    sure = Interval(1.0, 1.0, 1.0)
    share = wilson(30, 100)
    found = rogan_gladen(share, sure, sure)
    assert (found.value, found.low, found.high) == pytest.approx((share.value, share.low, share.high))


def test_the_formula_gives_the_published_value() -> None:
    found = rogan_gladen(wilson(420, 1000), wilson(450, 500), wilson(400, 500))
    assert found.value == pytest.approx((0.42 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("truth", "tpr", "tnr"), [(0.8, 0.9, 0.85), (0.5, 0.8, 0.8), (0.95, 0.95, 0.7)])
def test_the_corrected_interval_covers_where_the_judges_own_does_not(truth: float, tpr: float, tnr: float) -> None:
    generator = np.random.default_rng(0)
    says = truth * tpr + (1 - truth) * (1 - tnr)
    corrected = own = 0
    for _ in range(2000):
        share = wilson(generator.binomial(400, says), 400)
        found = rogan_gladen(share, wilson(generator.binomial(100, tpr), 100), wilson(generator.binomial(60, tnr), 60))
        corrected += found.low <= truth <= found.high
        own += share.low <= truth <= share.high
    assert 0.94 <= corrected / 2000 <= 0.98
    assert own < corrected


def test_a_judge_that_guesses_is_refused_and_one_that_may_guess_tells_nothing() -> None:
    with pytest.raises(ValueError, match="better than chance"):
        rogan_gladen(wilson(50, 100), wilson(25, 50), wilson(25, 50))
    unsure = rogan_gladen(wilson(50, 100), wilson(6, 10), wilson(6, 10))
    assert (unsure.low, unsure.high) == (0, 1)


def test_labels_of_some_rows_correct_the_scores_of_all() -> None:
    found = prediction_powered([1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0])
    assert found.value == pytest.approx(0.75 - 0.25)


def test_prediction_powered_intervals_cover_and_a_good_judge_makes_them_sharp() -> None:
    generator = np.random.default_rng(1)
    covered, widths = 0, []
    for _ in range(1500):
        labels = (generator.random(1100) < 0.7).astype(float)
        scores = np.where(generator.random(1100) < 0.9, labels, 1 - labels) * 0.9
        found = prediction_powered(scores[100:].tolist(), scores[:100].tolist(), labels[:100].tolist())
        covered += found.low <= 0.7 <= found.high
        widths.append(found.high - found.low)
    assert 0.935 <= covered / 1500 <= 0.965
    labels_alone = wilson(70, 100)
    assert np.mean(widths) < labels_alone.high - labels_alone.low


def test_agreement_on_few_labels_is_no_certainty() -> None:
    found = prediction_powered([1.0] * 1000, [1.0] * 20, [1.0] * 20)
    assert found.low == pytest.approx(1 - wilson(0, 20).high)
    with pytest.raises(ValueError, match="found 1 scores, 2 labels"):
        prediction_powered([1.0], [1.0], [1.0, 0.0])
