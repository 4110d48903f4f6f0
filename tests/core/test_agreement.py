"""Agreement of raters equals the reference libraries, and its intervals behave."""

from __future__ import annotations

import krippendorff as reference
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tunewright.core import agreement

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers, twelve units
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
LEVELS: list[agreement.Level] = ["nominal", "ordinal", "interval"]
WEIGHTS: list[agreement.Weights] = ["none", "linear", "quadratic"]


def test_the_published_example_gives_the_published_alphas() -> None:
    units = list(zip(*OBSERVERS, strict=True))
    found = [agreement.krippendorff(units, level=level).value for level in LEVELS]
    assert found == pytest.approx([0.743, 0.815, 0.849], abs=5e-4)
    assert agreement.krippendorff(units).n == 11  # the last unit has one value


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_equals_the_reference_with_values_missing(level: agreement.Level) -> None:
    draw = np.random.default_rng(0)
    for _ in range(10):
        truth = draw.integers(0, 5, 25)
        ratings = np.where(draw.random((4, 25)) < 0.5, truth, draw.integers(0, 5, (4, 25))).astype(float)
        ratings[draw.random(ratings.shape) < 0.3] = np.nan
        units = [[None if np.isnan(value) else float(value) for value in unit] for unit in ratings.T]
        wanted = reference.alpha(reliability_data=ratings, level_of_measurement=level)
        found = agreement.krippendorff(units, level=level)
        assert found.value == pytest.approx(wanted, abs=1e-12)
        assert found.low is not None and found.high is not None
        assert found.low <= wanted <= found.high


@pytest.mark.parametrize("weights", WEIGHTS)
def test_kappa_equals_the_reference(weights: agreement.Weights) -> None:
    draw = np.random.default_rng(1)
    first = draw.integers(0, 4, 60)
    second = np.where(draw.random(60) < 0.6, first, draw.integers(0, 4, 60))
    wanted = cohen_kappa_score(first, second, weights=None if weights == "none" else weights)
    assert agreement.cohen(first.tolist(), second.tolist(), weights=weights).value == pytest.approx(wanted, abs=1e-12)


def test_where_nothing_varies_or_is_rated_twice_there_is_no_figure() -> None:
    assert agreement.krippendorff([[1, None], [None, 2]]) == agreement.Agreement(None, None, None, 0)
    assert agreement.krippendorff([[1, 1], [1, 1]]).value is None
    assert agreement.cohen(["yes"], ["yes"]).value is None


def test_an_interval_covers_the_alpha_of_many_units() -> None:
    draw = np.random.default_rng(2)

    def units(n: int) -> list[list[float]]:
        truth = draw.integers(0, 3, n)
        return np.where(draw.random((2, n)) < 0.7, truth, draw.integers(0, 3, (2, n))).T.astype(float).tolist()

    truth = (0.8**2 + 2 * 0.1**2 - 1 / 3) / (2 / 3)  # right in 0.8 of the units, each of two wrong values in 0.1
    covered = 0
    for _ in range(100):
        found = agreement.krippendorff(units(60))
        assert found.low is not None and found.high is not None
        covered += found.low <= truth <= found.high
    assert covered >= 88
