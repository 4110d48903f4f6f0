"""What evaluate/report.json holds, as programs may rely on it: keys that stay, with their types; more may come."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunewright.core.report import Report


class _Told(BaseModel):
    """A block to which keys may be added."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Figure(_Told):
    """A grader's value with its 95 % interval, over n test rows."""

    value: float
    low: float
    high: float
    n: int


class ContestantFigures(_Told):
    """What one contestant reached and took. Every other key whose value is a figure is a grader's name."""

    seconds: float | None = Field(None, description="to answer all test rows")
    answers_per_second: float | None = None
    latency_p50: float | None = Field(None, description="seconds within which half of the answers came")
    latency_p95: float | None = Field(None, description="seconds within which 95 of 100 answers came")
    cost_per_1000: float | None = Field(None, description="money for 1,000 answers")
    prompt_tokens: int | None = Field(None, description="read for all answers")
    completion_tokens: int | None = Field(None, description="written for all answers")
    samples: int | None = Field(None, description="answers drawn to each test row, where it is more than one")
    repeated: dict[str, dict[str, Figure]] = Field(
        {}, description="by grader of right and wrong: any of k answers is right (pass@k), all are (all K)"
    )
    slices: dict[str, dict[str, Any]] = Field({}, description="by slice and grader: figures")


class Compared(_Told):
    """The tuned model against one contestant by one grader, on the same rows."""

    grader: str
    against: str
    difference: float = Field(description="tuned less the contestant")
    low: float
    high: float
    p: float
    p_holm: float = Field(description="after Holm's correction: what the verdict goes by")
    wins: int = Field(description="rows on which tuned was graded higher")
    losses: int
    n: int
    margin: float = Field(0.0, description="p is of this much lower; above 0 tuned need not be better")


class Numbers(_Told):
    """The figures behind the verdict."""

    rows: int = Field(description="test rows that were asked")
    grader: str | None = Field(None, description="the one that decides")
    goal: dict[str, Any] | None = Field(None, description="evaluate.goal of the recipe")
    budget: dict[str, float | None] | None = Field(None, description="evaluate.budget of the recipe")
    fronts: dict[str, list[str]] = Field({}, description="by cost: who is on the Pareto front, cheapest first")
    comparisons: list[Compared] = []
    need: int | None = Field(None, description="of NEED MORE: what is missing, test rows unless need_of says otherwise")
    need_of: str | None = Field(None, description="test rows, ratings or cases, where people or a gate are asked")
    bars: list[dict[str, Any]] = Field([], description="what people and a gate must say: name, state, words, need, of")
    changes: list[str] = Field([], description="sentences: what would change the answer")
    openings: int | None = Field(None, description="how often this test set has been opened, by all runs")
    frozen: dict[str, Any] = Field({}, description="hashes of test set, prompts, graders and model")
    clusters: int | None = Field(None, description="how many clusters of rows that depend on each other; none: rows")
    samples: list[dict[str, Any]] = Field([], description="some rows with answers and grades by contestant")


class EvaluationReport(Report):
    """evaluate/report.json."""

    model_config = ConfigDict(frozen=True, extra="allow", title="tunewright evaluate/report.json")

    stage: Literal["evaluate"]
    contestants: dict[str, ContestantFigures] = {}
    numbers: Numbers  # type: ignore[assignment]  # of a report in general: any


def schema() -> dict[str, Any]:
    """The JSON schema of evaluate/report.json."""
    found = EvaluationReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
