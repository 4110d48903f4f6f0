"""A budget bounds costs, and the Pareto front holds those within it that nobody beats in both."""

from __future__ import annotations

import itertools
import random

import pytest
from pydantic import ValidationError

from tunewright.core.budget import Budget, fronts


def figures(value: float, cost: float | None, latency: float | None = None) -> dict:
    return {"exact": {"value": value}, "cost_per_1000": cost, "latency_p95": latency}


def test_the_front_leaves_out_who_is_dearer_and_worse_and_who_is_over_the_budget() -> None:
    found = {"tuned": figures(0.9, 1.0), "few_shot": figures(0.8, 3.0), "base": figures(0.4, 0.5)}
    found |= {"big": figures(0.99, 20.0), "unpriced": figures(1.0, None)}
    assert fronts(found, "exact") == {"cost_per_1000": ["base", "tuned", "big"]}
    assert fronts(found, "exact", Budget(cost_per_1000=10)) == {"cost_per_1000": ["base", "tuned"]}
    assert fronts(found, "exact", Budget(cost_per_1000=0.1)) == {"cost_per_1000": []}


def test_the_front_is_that_of_a_search_over_all_pairs() -> None:
    draw = random.Random(3)
    for _ in range(50):
        found = {str(n): figures(draw.randrange(5) / 5, draw.randrange(5), draw.randrange(4)) for n in range(8)}
        for key, front in fronts(found, "exact").items():
            points = {name: (one["exact"]["value"], -one[key]) for name, one in found.items()}
            dominated = {
                name
                for name, other in itertools.permutations(points, 2)
                if all(b >= a for a, b in zip(points[name], points[other], strict=True))
                and points[name] != points[other]
            }
            assert set(front) == points.keys() - dominated


def test_what_is_over_and_what_is_not_measured_is_told() -> None:
    budget = Budget(latency=0.5, cost_per_1000=2)
    assert budget.over(figures(1, 2.0, 0.5)) == []
    assert budget.over(figures(1, 1.0, 0.7)) == ["95 of 100 answers come within 0.7 seconds, 0.5 are allowed"]
    assert budget.unmeasured(figures(1, None, 0.7)) == ["cost_per_1000"]


@pytest.mark.parametrize("given", [{}, {"latency": 0}, {"cost_per_1000": -1}, {"memory": 3}])
def test_a_budget_that_bounds_nothing_is_refused(given: dict) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(given)
