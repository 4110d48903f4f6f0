"""Recipe keys by which people judge: blind pairwise ratings, and an absolute gate of hand-picked cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunewright.core import storage
from tunewright.core.errors import unknown

if TYPE_CHECKING:
    from tunewright.core.evaluating import EvaluateOptions
    from tunewright.core.parts import Grader
    from tunewright.core.recipe import Recipe

PEOPLE = "people"
MOST_CRITERIA = 8  # a key each on the page


def _criteria(names: list[str]) -> list[str]:
    plain = [name.strip() for name in names]
    if not all(plain) or len(set(plain)) < len(plain) or len(plain) > MOST_CRITERIA:
        raise ValueError(f"up to {MOST_CRITERIA} different names are needed, found {names}")
    return plain


class People(BaseModel):
    """Blind pairwise ratings of answers to test rows, and what they must say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beat: list[str] = Field(
        [], description="contestants that people must like less than the tuned model; none: told only"
    )
    at_least: float = Field(
        0.5, ge=0, lt=1, description="the lower bound of the share of rows on which it is preferred, ties split"
    )
    least_ratings: int = Field(30, ge=2, description="rated rows that each pair needs before it decides")
    least_alpha: float | None = Field(
        None, ge=-1, lt=1, description="least agreement of raters (Krippendorff's alpha); needs two raters; none: told"
    )
    rubric: list[str] = Field(
        [], description="criteria compared beside the whole where raters like, e.g. [accurate, kind]"
    )

    _named = field_validator("rubric")(_criteria)


class Gate(BaseModel):
    """Hand-picked cases that the tuned model answers, each held to a rubric: an absolute bar, whatever it beats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: str = Field(description="a file of cases in any format that data.sources takes; relative to the recipe")
    rubric: list[str] = Field(["accurate", "safe", "in style"], min_length=1, description="criteria; all must pass")
    at_least: float = Field(0.9, gt=0, lt=1, description="the exact lower bound of the share of cases that pass")
    critical: float | None = Field(
        0.05, gt=0, lt=1, description="the exact upper bound of critical failures; none: told only"
    )
    by: str = Field(PEOPLE, description="who judges: people, or the name of a grader (a calibrated judge)")
    passes: float = Field(0.5, gt=0, le=1, description="the grade from which a case passes, where a grader judges")

    _named = field_validator("rubric")(_criteria)


@dataclass(frozen=True)
class Bar:
    """What people or a gate must say: how it stands, in words, and how many more of what would settle an open one."""

    name: str
    state: Literal["holds", "broken", "open"]
    words: str
    need: int = 0
    of: Literal["ratings", "test rows", "cases"] = "ratings"


def problems(recipe: Recipe, graders: Sequence[Grader], contestants: Sequence[str]) -> list[str]:
    """What is wrong with these keys, each one sentence. contestants: by name."""
    people, gate = recipe.evaluate.people, recipe.evaluate.gate
    found = []
    if (people or gate) and recipe.the_objective().figure is not None:
        found.append(
            f"evaluate.people and gate: objective '{recipe.the_objective().kind}' writes no answers that people could "
            "judge. Leave both out."
        )
    for name in people.beat if people else []:
        if name not in contestants:
            found.append(f"evaluate.people.beat: {unknown('contestant', name, contestants)}")
    if gate is None:
        return found
    if not Path(gate.cases).is_file():
        found.append(f"evaluate.gate.cases: there is no file {gate.cases}. Paths are relative to the recipe.")
    if gate.by == PEOPLE:
        return found
    judge = next((part for part in graders if part.label == gate.by), None)
    if judge is None:
        found.append(f"evaluate.gate.by: {unknown('judge', gate.by, [PEOPLE, *(part.label for part in graders)])}")
    elif judge.paired == "mcnemar" and gate.critical is not None:
        found.append(
            f"evaluate.gate.critical: '{gate.by}' only tells right from wrong, not how bad a failure is. Give "
            "critical: null, or let people or a grader that grades in steps judge."
        )
    return found


def located(options: EvaluateOptions, folder: Path) -> EvaluateOptions:
    """With the file of cases made absolute."""
    if options.gate is None:
        return options
    cases = str((folder / Path(options.gate.cases).expanduser()).resolve())
    return options.model_copy(update={"gate": options.gate.model_copy(update={"cases": cases})})


def fingerprint(recipe: Recipe) -> str | None:
    """The SHA-256 of the file of cases; None where there is none."""
    gate = recipe.evaluate.gate
    return storage.sha256(Path(gate.cases)) if gate is not None and Path(gate.cases).is_file() else None
