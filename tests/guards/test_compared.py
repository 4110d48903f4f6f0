"""Intervals of differences between rows that are not the same: published values, and how often they cover."""

from __future__ import annotations

import numpy as np
import pytest

from tunewright.core.report import Measure
from tunewright.guards import _compared


@pytest.mark.parametrize(  # Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0000),
    ],
)
def test_a_difference_of_shares_has_the_published_interval(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = _compared.difference_of_shares(*counts)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_a_difference_of_means_covers_the_truth() -> None:
    draw = np.random.default_rng(0)
    inside = 0
    for trial in range(120):
        counts = [draw.integers(5, 40, size) for size in (80, 60)]
        sums = [draw.gamma(2.0, 0.5, len(n)) * n for n in counts]  # 1 a token in both groups
        found = _compared.difference_of_means(sums[0], counts[0], sums[1], counts[1], seed=trial)
        inside += found.low <= 0 <= found.high
    assert 0.89 <= inside / 120 <= 0.99


def test_only_open_bounds_ask_for_items() -> None:
    given = [
        Measure(name="wide", value=0.0, low=-0.1, high=0.1, n=60, bound=0.05),
        Measure(name="kept", value=0.0, low=-0.1, high=0.1, n=60, bound=0.2),
        Measure(name="told", value=0.0, low=-0.1, high=0.1, n=60),
    ]
    [found] = _compared.unsettled(given, "Bring more.")
    assert found.message.startswith("wide:") and "items would tell" in found.message
