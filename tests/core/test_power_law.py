"""The power law: the best fit, intervals that hold what they promise, and a back-test that notices what is no law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunewright.core import power_law
from tunewright.core.power_law import PowerLaw

SIZES = np.repeat([500, 1000, 2000, 4000, 8000], [2, 2, 2, 2, 1]).astype(float)


def drawn(law: PowerLaw, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors measured on so many rows, and the covariance of their noise."""
    errors = np.random.default_rng(seed).binomial(rows, [law.error(size) for size in SIZES]) / rows
    return errors, np.diag(np.maximum(errors * (1 - errors), 1 / rows) / rows)


@pytest.mark.parametrize("law", [PowerLaw(0.05, 8, 0.45), PowerLaw(0.0, 3, 0.3), PowerLaw(0.2, 100, 0.9)])
def test_points_on_a_law_give_the_law(law: PowerLaw) -> None:
    errors = np.array([law.error(size) for size in SIZES])
    found = power_law.fit(SIZES, errors, np.eye(len(SIZES)) * 1e-4)
    assert found.law.offset == pytest.approx(law.offset, abs=2e-4)
    assert found.law.exponent == pytest.approx(law.exponent, rel=5e-3)
    assert found.law.error(16000) == pytest.approx(law.error(16000), abs=1e-5)
    gain = found.gain(8000, 16000)
    assert gain.low < gain.value < gain.high
    assert gain.value == pytest.approx(law.error(8000) - law.error(16000), abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_the_fit_is_as_good_as_the_best_that_scipy_finds(seed: int) -> None:
    from scipy.optimize import least_squares

    draw = np.random.default_rng(seed)
    exponent = draw.uniform(0.3, 0.7)
    law = PowerLaw(draw.uniform(0, 0.2), draw.uniform(0.2, 0.7) * 500**exponent, exponent)
    errors, covariance = drawn(law, 800, seed)
    covariance = covariance + 2e-4 * (1 + np.minimum.outer(SIZES, SIZES) / 16000)  # noise that trainings share
    root = np.linalg.inv(np.linalg.cholesky(covariance))

    def residuals(given: np.ndarray) -> np.ndarray:
        offset, scale, exponent = given
        return root @ (errors - offset - scale * (SIZES / 8000) ** -exponent)

    starts = [(0.01, 0.1, 0.3), (0.1, 0.1, 0.8), (0.0, 0.3, 0.2), (0.2, 0.01, 1.5)]
    bounds = ([0, 0, power_law.LEAST_EXPONENT], [1, 10, power_law.LARGEST_EXPONENT])
    best = min(2 * least_squares(residuals, start, bounds=bounds, xtol=1e-12).cost for start in starts)
    assert power_law.fit(SIZES, errors, covariance).misfit <= best * (1 + 5e-3) + 1e-6


def test_eighty_percent_intervals_hold_the_truth_in_about_eighty_percent_of_the_trials() -> None:
    laws = [PowerLaw(0.05, 8, 0.45), PowerLaw(0.0, 8, 0.45), PowerLaw(0.1, 20, 0.6), PowerLaw(0.2, 100, 0.9)]
    held = []
    for number, law in enumerate(laws):
        true = law.error(8000) - law.error(16000)
        for trial in range(50):
            errors, covariance = drawn(law, 1000, 1000 * number + trial)
            gain = power_law.fit(SIZES, errors, covariance).gain(8000, 16000)
            held.append(gain.low <= true <= gain.high)
    assert 0.74 <= np.mean(held) <= 0.88


def test_the_back_test_holds_what_comes_in_about_eighty_percent_and_rarely_contradicts() -> None:
    law, held, contradicted = PowerLaw(0.05, 8, 0.45), [], 0
    for trial in range(60):
        tested = power_law.back_test(SIZES, *drawn(law, 1000, trial))
        held.append(tested.off <= 1)
        contradicted += tested.contradicts
        assert (tested.off <= 1) == (tested.foretold.low - 1e-9 <= tested.measured <= tested.foretold.high + 1e-9)
    assert 0.66 <= np.mean(held) <= 0.94
    assert contradicted <= 3


def test_the_back_test_contradicts_a_curve_that_breaks_off() -> None:
    errors = np.array([0.4, 0.4, 0.3, 0.3, 0.225, 0.225, 0.17, 0.17, 0.30])
    assert power_law.back_test(SIZES, errors, np.eye(9) * 1e-4).contradicts


def test_noise_that_all_trainings_share_does_not_widen_the_gain() -> None:
    law = PowerLaw(0.05, 8, 0.45)
    errors = np.array([law.error(size) for size in SIZES])
    own = np.eye(9) * 1e-4
    alone = power_law.fit(SIZES, errors, own).gain(8000, 16000)
    shared = power_law.fit(SIZES, errors, own + 2e-3).gain(8000, 16000)
    apart = power_law.fit(SIZES, errors, own + 2e-3 * np.eye(9)).gain(8000, 16000)
    assert shared.high - shared.low < 1.6 * (alone.high - alone.low) < apart.high - apart.low


def test_rows_for_a_goal_are_those_where_the_law_reaches_it() -> None:
    law = PowerLaw(0.05, 8, 0.45)
    found = power_law.fit(SIZES, np.array([law.error(size) for size in SIZES]), np.eye(9) * 1e-5)
    needed = found.rows_for(0.12)
    assert law.error(needed.value) == pytest.approx(0.12, abs=1e-3)
    assert needed.low < needed.value < needed.high
    assert found.rows_for(0.01).value == math.inf
    assert PowerLaw(0.05, 8, 0.45).rows_for(0.05) == math.inf
    assert PowerLaw(0.0, 0.0, 1.0).rows_for(0.1) == 1
