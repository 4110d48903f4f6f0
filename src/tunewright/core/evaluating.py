"""How success is measured: options of `evaluate`, and what stands where a recipe names nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tunewright.core.budget import Budget
from tunewright.core.goal import Goal
from tunewright.core.judging import Gate, People
from tunewright.core.part import PartChoice

GUARDS: list[PartChoice] = ["forgetting", "memorisation", "confidence"]  # where the recipe names none
CONTESTANTS: list[PartChoice] = ["base", "few_shot"]  # where the recipe names none, and the base can be asked


class EvaluateOptions(BaseModel):
    """How success is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graders: list[PartChoice] | None = Field(None, description="graders; fitted to the data when left out")
    against: list[PartChoice] | None = Field(
        None,
        description="what must be beaten: the untouched base, asked plainly and with examples, where it can be asked",
    )
    goal: Goal | None = Field(None, description="no goal: every result is a GO, with a warning")
    guards: list[PartChoice] | None = Field(
        None, description="what else must stay sound; they gate where they are given bounds; left out: the cheap ones"
    )
    budget: Budget | None = Field(None, description="what answers may cost and how long they may take; none: anything")
    people: People | None = Field(None, description="what people who rate answers blindly must say; none: told only")
    gate: Gate | None = Field(None, description="hand-picked cases that must pass, whatever is beaten; none: no gate")
    max_new_tokens: int | None = Field(None, ge=1, description="longest answer")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token each time")
    samples: int = Field(
        1, ge=1, description="answers drawn to each test row; above 1 its grade is their mean; needs a temperature"
    )
    hour_price: float | None = Field(
        None, ge=0, description="what an hour of this machine costs, in the currency of endpoints' prices"
    )
    slice: str | None = Field(None, description="a column of the test rows; figures are shown for each of its values")
    clusters: str | None = Field(
        None,
        description="a column of the test rows: rows that share its value depend on each other and are one witness; "
        "left out: data.split.group, where that is given",
    )
    openings: int | None = Field(
        None, ge=1, description="how often the test set may be opened, by all runs together; left out: counted only"
    )
    matrix: bool | None = Field(
        None,
        description="every phase's model on every phase's test rows; left out: where phases are a sequence of tasks",
    )
