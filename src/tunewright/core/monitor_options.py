"""How a served release is watched: options of `monitor`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunewright.core.errors import RecipeError
from tunewright.core.part import PartChoice
from tunewright.core.spans import span

MONITORS: list[PartChoice] = [  # where the recipe names none
    "drift", "quality", "feedback", "refusals", "form", "latency", "cost", "fairness",
]  # fmt: skip


class MonitorOptions(BaseModel):
    """How traffic is watched once the release is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    monitors: list[PartChoice] | None = Field(None, description="what is watched, with options; left out: everything")
    window: str = Field("7d", description="how far back a look goes: 30m, 24h, 7d, 2w")
    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="chance of any false alarm in so many `looks`, over all tests together"
    )
    looks: int = Field(
        30, ge=1, le=10_000, description="looks that share alpha evenly: 30 daily ones, then the next 30 have their own"
    )
    reference: Literal["test", "train", "traffic"] = Field(
        "test", description="what questions are compared with: test rows, training rows, or the release's first traffic"
    )
    first: str = Field("7d", description="how long the first traffic lasts, where that is the reference")
    shift: float = Field(
        0.2, gt=0, lt=1, description="share of the traffic that must have changed for it to be seen in 80 of 100 looks"
    )

    @field_validator("window", "first")
    @classmethod
    def _is_span(cls, given: str) -> str:
        span(given)
        return given

    @property
    def level(self) -> float:
        """Of one look, all its tests together."""
        return self.alpha / self.looks


def problems(options: MonitorOptions) -> list[str]:
    """Monitors that cannot be made, or are named twice."""
    from tunewright.core import catalog

    found, kinds = [], []
    for choice in options.monitors or []:
        try:
            kinds.append(catalog.build("monitors", choice).kind)
        except RecipeError as error:
            found += [f"monitor.monitors: {problem}" for problem in error.problems]
    twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
    return found + [f"monitor.monitors: '{kind}' is named twice. Name each once." for kind in twice]
