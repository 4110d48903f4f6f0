"""Recipe keys that measure what rows are worth: the learning curve, and the choice of the best rows."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunewright.core import storage

if TYPE_CHECKING:
    from tunewright.core.recipe import Recipe

LEAST_POINTS = 4  # sizes: the law has three numbers
Score = Literal["quality", "relevance", "length", "language", "density", "agreement", "grader", "perplexity", "ifd"]
NEED_MODEL = ("perplexity", "ifd")


class LearningCurve(BaseModel):
    """How the learning curve is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["recipe", "proxy"] = Field(
        "recipe",
        description="what is trained: the recipe's own model, or for labels a proxy (TF-IDF and logistic regression) "
        "in seconds, whose curve is another",
    )
    points: int = Field(
        5, ge=LEAST_POINTS, le=10, description="sizes, each twice the one before, up to all training rows"
    )
    draws: int = Field(2, ge=1, le=10, description="trainings of each size but the largest, each on rows of its own")
    epochs: float | None = Field(
        None, gt=0, description="passes in each training, fewer to make it cheap; left out: as the recipe trains"
    )
    without: str | None = Field(
        None,
        description="a finding of prepare, or a file of rows' ids: what leaving these rows out gives is compared with "
        "adding rows",
    )


class Choosing(BaseModel):
    """What choose measures beside filling in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_curve: LearningCurve | None = Field(
        None,
        description="true or options: train on parts of the rows to tell what more rows would give; costs trainings",
    )

    @field_validator("learning_curve", mode="before")
    @classmethod
    def _on_or_off(cls, given: Any) -> Any:
        return ({} if given else None) if isinstance(given, bool) else given


class Selection(BaseModel):
    """Which training rows are kept: the best by a score, unlike each other where diversity is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    best: int | str = Field(description="how many rows are kept, or a share such as 20%")
    by: Score = Field("quality", description="what makes a row good; perplexity and ifd need a model to be named")
    prefer: Literal["high", "middle", "low"] | None = Field(
        None, description="which end of the score is good; left out: as the score's source found it"
    )
    diverse: float = Field(
        0.0, ge=0, le=1, description="0 looks at the score alone, towards 1 more at being unlike the rows chosen before"
    )
    balance: bool = Field(False, description="as many rows of each label, as far as there are")
    like: str = Field(
        "validation",
        description="whose inputs relevance compares with: validation, test, or a file; never their labels",
    )

    @field_validator("best")
    @classmethod
    def _rows_or_share(cls, best: int | str) -> int | str:
        if not _is_amount(best):
            raise ValueError(f"'{best}' is no number of rows and no share. Give e.g. 500 or 20%")
        return int(best) if isinstance(best, str) and best.isdigit() else best

    def amount(self, num_rows: int) -> int:
        """How many of so many rows are kept: at least one."""
        if isinstance(self.best, int):
            return min(self.best, num_rows)
        return max(1, math.ceil(float(self.best.rstrip("% ")) / 100 * num_rows - 1e-9))


def _is_amount(best: int | str) -> bool:
    if isinstance(best, int):
        return best >= 1
    share = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", best)
    return 0 < float(share[1]) <= 100 if share else best.isdigit() and int(best) >= 1


def fingerprint(recipe: Recipe) -> str | None:
    """The SHA-256 of the file of rows that the learning curve leaves out; None where no file is named."""
    curve = recipe.choose.learning_curve
    path = Path(curve.without) if curve is not None and curve.without is not None else None
    return storage.sha256(path) if path is not None and path.is_file() else None


def problems(recipe: Recipe) -> list[str]:
    """What is wrong with these keys of a recipe, each one sentence."""
    found = []
    curve, select = recipe.choose.learning_curve, recipe.data.select
    if curve is not None and recipe.phases:
        found.append(
            "choose.learning_curve: a recipe with phases has no curve of its own. Give the key to a recipe that has "
            "one phase's data alone."
        )
    if select is None:
        return found
    if select.by in NEED_MODEL and not recipe.model.model_fields_set:
        found.append(
            f"data.select.by: '{select.by}' asks a model, and the recipe names none. Name one (model: nano), or "
            "select by quality."
        )
    if select.like not in ("validation", "test") and not Path(select.like).is_file():
        found.append(
            f"data.select.like: {select.like} is neither 'validation' nor 'test' nor a file. Paths are relative to the "
            "recipe."
        )
    return found
