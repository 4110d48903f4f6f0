"""regression: how near the answered numbers are to the expected ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader

if TYPE_CHECKING:
    import numpy as np


class Regression(Grader):
    """The value is a `figure`: r2, the share of the numbers' variance that is explained, or within, the share of
    answers that are right within `tolerance`. Told beside: mean absolute error, RMSE, both correlations.

    Needs an expected answer that is a number. r2 is 1 - sum of squared errors / sum of squared distances from the mean,
    and 0 where that is below 0: what always answering the test rows' mean would reach. An answer that is no number errs
    as much as the farthest expected number from the mean would. A row's own grade is right or wrong within `tolerance`.
    Interval and comparison by bootstrap. Sources: the coefficient of determination (Wright 1921), rank correlation
    (Spearman 1904). Neighbours: `exact`, for numbers that must match; `agreement`, for grades on a scale.
    """

    figure: Literal["r2", "within"] = Field(
        "r2", description="r2 depends on how far apart the expected numbers are, within on the tolerance alone"
    )
    tolerance: float = Field(
        0.5,
        gt=0,
        description="a row counts as right where the answer is this near",
    )

    def compares(self, expected: str) -> bool:
        """Only with a number."""
        return _number(expected) is not None

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when the answer is within the tolerance, else 0."""
        expected, got = _number(example.answer), _number(answer)
        if expected is None or got is None:
            return Grade(score=0.0, why="no number")
        apart = abs(expected - got)
        return Grade(score=1.0) if apart <= self.tolerance else Grade(score=0.0, why=f"{apart:.3g} apart")

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """For each row 1, the expected number, its square, the squared error, and whether it is near: [rows, 5]."""
        import numpy as np

        expected, got = self._pairs(examples, answers)
        near = self._near(answers, expected, got)
        return np.stack([np.ones(len(expected)), expected, expected**2, (expected - got) ** 2, near], axis=1)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """The share of the variance, at least 0; or of answers within the tolerance."""
        import numpy as np

        count, total, squares, errors, near = np.moveaxis(totals, -1, 0)
        if self.figure == "within":
            of_all: np.ndarray = near / np.maximum(count, 1)
            return of_all
        around = squares - total**2 / np.maximum(count, 1)
        share: np.ndarray = np.clip(1 - errors / np.maximum(around, 1e-12), 0.0, 1.0)
        return share

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Mean absolute error, root of the mean squared error, r2 (which may be negative), both correlations (0 where
        one side never changes), and the share within the tolerance.
        """
        import numpy as np
        from scipy.stats import rankdata

        expected, got = self._pairs(examples, answers)
        apart = expected - got
        around = float(((expected - expected.mean()) ** 2).sum())
        return {
            "mae": float(np.abs(apart).mean()),
            "rmse": float(np.sqrt((apart**2).mean())),
            "r2": 1 - float((apart**2).sum()) / around if around > 0 else 0.0,
            "pearson": _correlation(expected, got),
            "spearman": _correlation(rankdata(expected), rankdata(got)),
            "within": float(self._near(answers, expected, got).mean()),
        }

    def _near(self, answers: Sequence[str | None], expected: np.ndarray, got: np.ndarray) -> np.ndarray:
        import numpy as np

        said = np.array([_number(answer) is not None for answer in answers])
        return said & (np.abs(expected - got) <= self.tolerance)

    def _pairs(self, examples: Sequence[Example], answers: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        expected = np.array([number if (number := _number(e.answer)) is not None else 0.0 for e in examples])
        far = float(np.abs(expected - expected.mean()).max())
        given = [_number(answer) for answer in answers]
        pairs = zip(expected, given, strict=True)
        return expected, np.array([right + far if number is None else number for right, number in pairs])


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    spread = float(first.std() * second.std())
    covariance = float(((first - first.mean()) * (second - second.mean())).mean())
    return covariance / spread if spread > 1e-12 else 0.0


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
