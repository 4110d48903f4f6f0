"""agreement: grades on a scale, and how far they agree with people's beyond chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._folding import fold

if TYPE_CHECKING:
    import numpy as np

MOST_STEPS = 30


class Agreement(Grader):
    """The value is Cohen's weighted kappa between the answers and the expected grades: 1 is perfect agreement, 0 what
    chance gives (or worse; the signed figure is told beside).

    Needs an expected answer that is a step of a scale: a number, or a word of `scale`. Steps weigh by their order:
    quadratic by squared distance, linear by distance, none alike. An answer off the scale counts as the farthest step
    from the expected one. A row's grade is right or wrong. Interval and comparison by bootstrap. Source: Cohen 1968.
    Neighbours: `regression`, for numbers without a scale; `label_f1`, for labels without an order.
    """

    weights: Literal["quadratic", "linear", "none"] = Field(
        "quadratic", description="quadratic forgives near misses most and is what essay grading reports"
    )
    scale: list[str | float] | None = Field(
        None, min_length=2, description="the steps in order; the numbers found in the test rows when left out"
    )

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when it is the expected step, else 0."""
        expected, got = _step(example.answer), _step(answer)
        if expected == got:
            return Grade(score=1.0)
        known = isinstance(expected, float) and isinstance(got, float)
        return Grade(score=0.0, why=f"{abs(expected - got):g} apart" if known else "another grade")  # type: ignore[operator]

    def try_on(self, example: Example) -> None:
        """Raises DataError for a grade that is no step."""
        self._steps([example])

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """One cell of the table expected x answered for each row: [rows, steps x steps]."""
        import numpy as np

        steps = self._steps(examples)
        rows = np.zeros((len(examples), len(steps), len(steps)))
        for row, example, answer in zip(rows, examples, answers, strict=True):
            expected = steps[_step(example.answer)]
            farthest = 0 if expected >= len(steps) / 2 else len(steps) - 1
            row[expected, steps.get(_step(answer), farthest)] = 1
        return rows.reshape(len(examples), -1)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Weighted kappa, at least 0."""
        import numpy as np

        return np.clip(_kappa(totals, self.weights), 0.0, 1.0)

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Kappa with each weighting (it may be negative), the share that agrees, and answers off the scale."""
        steps = self._steps(examples)
        totals = self.tally(examples, answers, grades).sum(axis=0)
        return {
            **{f"kappa_{name}": float(_kappa(totals, name)) for name in ("none", "linear", "quadratic")},
            "same": sum(grade.score for grade in grades) / len(grades) if grades else 0.0,
            "off_scale": sum(_step(answer) not in steps for answer in answers),
            "scale": [str(step) if isinstance(step, str) else f"{step:g}" for step in steps],
        }

    def _steps(self, examples: Sequence[Example]) -> dict[str | float, int]:
        """The place of each step."""
        if self.scale is not None:
            steps = [_step(str(step)) for step in self.scale]
        else:
            found = Counter(_step(example.answer) for example in examples)
            if words := [step for step in found if isinstance(step, str)]:
                raise DataError(
                    f"Grader '{self.label}' needs grades in order, found '{words[0]}'. List the steps from the lowest "
                    "to the highest: scale: [poor, fair, good]."
                )
            steps = sorted(found)
        if len(steps) > MOST_STEPS:
            raise DataError(
                f"Grader '{self.label}' finds {len(steps)} different grades, which are no scale (at most {MOST_STEPS} "
                "steps). Use the grader 'regression'."
            )
        places = {step: place for place, step in enumerate(steps)}
        if off := [example for example in examples if _step(example.answer) not in places]:
            raise DataError(
                f"Grader '{self.label}' finds '{off[0].answer}' expected in row {off[0].id}, which is no step of "
                "scale. Add it, or correct the row."
            )
        return places


def _kappa(totals: np.ndarray, weights: str) -> np.ndarray:
    """1 - observed / expected disagreement; 1 where both are none. [..., steps x steps] -> [...]."""
    import numpy as np

    size = math.isqrt(totals.shape[-1])
    table = totals.reshape(*totals.shape[:-1], size, size)
    apart = np.abs(np.arange(size)[:, None] - np.arange(size)[None])
    cost = {"none": apart > 0, "linear": apart, "quadratic": apart**2}[weights].astype(float)
    chance = (
        table.sum(-1)[..., :, None] * table.sum(-2)[..., None, :] / np.maximum(table.sum((-1, -2)), 1)[..., None, None]
    )
    observed, expected = (table * cost).sum((-1, -2)), (chance * cost).sum((-1, -2))
    kappa: np.ndarray = np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1), 1.0)
    return kappa


def _step(text: str | None) -> str | float:
    """A number, or a folded word."""
    try:
        number = float(text or "")
    except ValueError:
        return fold(text or "")
    return number if math.isfinite(number) else fold(text or "")
