"""r2: how much of the expected numbers' variance the answered numbers explain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader

if TYPE_CHECKING:
    import numpy as np


class R2(Grader):
    """The value is 1 - sum of squared errors / sum of squared distances from the mean, and 0 where that is below 0.

    Needs an expected answer that is a number. 0 is what always answering the test rows' mean would reach. An answer
    that is no number errs as much as the farthest expected number from the mean would. A row's own grade is right or
    wrong within `tolerance`. Interval and comparison by bootstrap. Source: the coefficient of determination
    (Wright 1921). Neighbour: `exact`, for numbers that must match.
    """

    tolerance: float = Field(
        0.5,
        gt=0,
        description="a row counts as right where the answer is this near: what its own grade shows, not the value",
    )

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when the answer is within the tolerance, else 0."""
        expected, got = _number(example.answer), _number(answer)
        if expected is None or got is None:
            return Grade(score=0.0, why="no number")
        apart = abs(expected - got)
        return Grade(score=1.0) if apart <= self.tolerance else Grade(score=0.0, why=f"{apart:.3g} apart")

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """For each row 1, the expected number, its square, and the squared error: [rows, 4]."""
        import numpy as np

        expected, got = self._pairs(examples, answers)
        return np.stack([np.ones(len(expected)), expected, expected**2, (expected - got) ** 2], axis=1)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """The share of the variance, at least 0."""
        import numpy as np

        count, total, squares, errors = np.moveaxis(totals, -1, 0)
        around = squares - total**2 / np.maximum(count, 1)
        share: np.ndarray = np.clip(1 - errors / np.maximum(around, 1e-12), 0.0, 1.0)
        return share

    def summarise(self, examples: Sequence[Example], answers: Sequence[str | None]) -> dict[str, Any]:
        """Mean absolute error, root of the mean squared error, and Pearson's correlation."""
        import numpy as np

        expected, got = self._pairs(examples, answers)
        apart = expected - got
        spread = float(np.std(expected) * np.std(got))
        covariance = float(((expected - expected.mean()) * (got - got.mean())).mean())
        return {
            "mae": float(np.abs(apart).mean()),
            "rmse": float(np.sqrt((apart**2).mean())),
            "pearson": covariance / spread if spread > 1e-12 else 0.0,
        }

    def _pairs(self, examples: Sequence[Example], answers: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        expected = np.array([number if (number := _number(e.answer)) is not None else 0.0 for e in examples])
        far = float(np.abs(expected - expected.mean()).max())
        given = [_number(answer) for answer in answers]
        pairs = zip(expected, given, strict=True)
        return expected, np.array([right + far if number is None else number for right, number in pairs])


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
