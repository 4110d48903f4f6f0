"""What answers may cost and how long they may take: the recipe's budget, and the Pareto front of quality under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

FIGURES = {"latency": "latency_p95", "cost_per_1000": "cost_per_1000"}  # of a contestant, by key of the budget
WORDS = {
    "latency": "95 of 100 answers come within {} seconds, {} are allowed",
    "cost_per_1000": "1,000 answers cost {}, {} is allowed",
}


class Budget(BaseModel):
    """Bounds on what answering takes: above them the tuned model is a NO-GO, and nobody is on the front."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency: float | None = Field(None, gt=0, description="seconds within which 95 of 100 answers must be there")
    cost_per_1000: float | None = Field(
        None, ge=0, description="what 1,000 answers may cost, in the currency of prices"
    )

    @model_validator(mode="after")
    def _some(self) -> Budget:
        if self.latency is None and self.cost_per_1000 is None:
            raise ValueError("give latency (seconds), cost_per_1000, or both")
        return self

    def over(self, figures: Mapping[str, Any]) -> list[str]:
        """What of a contestant's figures is over the budget, in words."""
        return [
            WORDS[key].format(f"{figures[FIGURES[key]]:.4g}", f"{bound:.4g}")
            for key, bound in self._bounds().items()
            if _is_number(figures.get(FIGURES[key])) and figures[FIGURES[key]] > bound
        ]

    def unmeasured(self, figures: Mapping[str, Any]) -> list[str]:
        """The figures that the budget bounds and that a contestant lacks."""
        return [FIGURES[key] for key in self._bounds() if not _is_number(figures.get(FIGURES[key]))]

    def _bounds(self) -> dict[str, float]:
        return {key: bound for key in FIGURES if (bound := getattr(self, key)) is not None}


def fronts(
    contestants: Mapping[str, Mapping[str, Any]], grader: str, budget: Budget | None = None
) -> dict[str, list[str]]:
    """For each cost that two contestants or more have: who is on the Pareto front of the grader's value against it.

    On the front are those within the budget whom no other one within it equals or beats in both, being better in one.
    Measured values are compared as they are: intervals that overlap may hide a tie. Cheapest first.
    """
    found = {}
    for key in FIGURES.values():
        there = {
            name: (figures[grader]["value"], figures[key])
            for name, figures in contestants.items()
            if figures.get(grader) and _is_number(figures.get(key))
        }
        within = {name: one for name, one in there.items() if not (budget and budget.over(contestants[name]))}
        if len(there) > 1:
            found[key] = sorted(
                (name for name, one in within.items() if not any(_beats(other, one) for other in within.values())),
                key=lambda name: within[name][1],
            )
    return found


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] <= other[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
