"""The length effect: the regression is that of a library, a planted effect is found, none is not."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.core.length_effect import length_effect


def made(slope: float, intercept: float, n: int = 400, seed: int = 0) -> tuple[list[float], list[float]]:
    draw = np.random.default_rng(seed)
    gaps = draw.normal(30, 100, n)
    chance = 1 / (1 + np.exp(-(intercept + slope * np.tanh(gaps / gaps.std()))))
    return (draw.random(n) < chance).astype(float).tolist(), gaps.tolist()


def test_the_regression_is_that_of_a_library() -> None:
    from sklearn.linear_model import LogisticRegression

    wins, gaps = made(1.5, -0.3)
    found = length_effect(wins, gaps)
    assert found is not None
    rows = np.tanh(np.array(gaps) / np.std(gaps))[:, None]
    theirs = LogisticRegression(C=100.0, tol=1e-10).fit(rows, wins)  # C is one over the ridge
    assert found.slope.value == pytest.approx(theirs.coef_[0, 0], abs=1e-4)
    assert found.controlled.value == pytest.approx(theirs.predict_proba(np.zeros((1, 1)))[0, 1], abs=1e-4)


def test_intervals_cover_what_was_planted() -> None:
    covered = [0, 0]
    for seed in range(200):
        found = length_effect(*made(1.0, 0.4, n=200, seed=seed))
        assert found is not None
        covered[0] += found.slope.low <= 1.0 <= found.slope.high
        covered[1] += found.controlled.low <= 1 / (1 + np.exp(-0.4)) <= found.controlled.high
    assert min(covered) >= 180  # 95 % of 200, less three standard errors


def test_no_effect_is_found_as_seldom_as_promised() -> None:
    found = [length_effect(*made(0.0, 0.4, n=100, seed=seed)) for seed in range(400)]
    false = sum(one.p < 0.05 for one in found if one is not None)
    assert 5 <= false <= 35  # 20 are to be expected


def test_length_alone_gives_a_large_and_finite_slope() -> None:
    gaps = [float(x) for x in range(-20, 21) if x]
    found = length_effect([float(x > 0) for x in gaps], gaps)
    assert found is not None and 3 < found.slope.value < 100
    assert found.p < 1e-9
    assert found.controlled.value == pytest.approx(0.5, abs=1e-6)


def test_where_lengths_do_not_differ_nothing_is_told() -> None:
    assert length_effect([1.0] * 20, [0.0] * 20) is None
    assert length_effect([1.0] * 20, [5.0] * 20) is None
    assert length_effect([1, 0, 1], [3, 4, 5]) is None
