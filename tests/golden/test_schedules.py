"""The learning rate at each step is the closed form of its paper."""

from __future__ import annotations

import math

import pytest

from tunewright.training.schedules import factor, slanted_triangular


@pytest.mark.parametrize(
    ("t", "rate"), [(0, 0.0003125), (50, 0.0051563), (100, 0.01), (550, 0.0051563), (1000, 0.0003125)]
)
def test_slanted_triangular_gives_the_published_values(t: int, rate: float) -> None:
    assert 0.01 * slanted_triangular(t, 1000) == pytest.approx(rate, abs=5e-8)
    if t < 1000:
        assert factor("slanted_triangular", t + 1, total=1000, warmup=0.5) == slanted_triangular(t, 1000)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 97, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_closed_form(schedule: str, warmup: float, total: int) -> None:
    rising = math.ceil(warmup * total)
    for step in range(1, total + 1):
        if step <= rising:
            expected = step / (rising + 1)
        else:
            done = (step - 1 - rising) / max(1, total - rising)
            expected = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[schedule]
        assert factor(schedule, step, total=total, warmup=warmup) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "slanted_triangular"])
@pytest.mark.parametrize("total", [1, 2, 7, 9, 10, 11, 250])
def test_every_rate_is_positive_and_reaches_the_peak_region(schedule: str, total: int) -> None:
    rates = [factor(schedule, step, total=total, warmup=0.05) for step in range(1, total + 1)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) > 0.9 or total < 3
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_known_points() -> None:
    assert factor("cosine", 51, total=100, warmup=0.0) == pytest.approx(0.5)
    assert factor("linear", 76, total=100, warmup=0.0) == pytest.approx(0.25)
    assert [factor("constant", n, total=8, warmup=0.25) for n in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
