"""confidence: does the model know when it is wrong, and which answers can go out without a person?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tunewright.core import calibration, statistics
from tunewright.core.example import Example, Message
from tunewright.core.guarding import Guard, GuardScene
from tunewright.core.report import Finding, GuardResult, Measure
from tunewright.guards._compared import TWO_SIDES, asked, drawn, missing

_DIGITS = 5
_FEWEST = 10


class Confidence(Guard):
    """Calibration of the tuned model and selective answers: told always, and gating only where a bound is set.

    A confidence is the answer's share of the probability among the labels; of answers written freely it is the
    geometric mean of their tokens' probabilities. One temperature and one threshold are fitted on validation rows and
    checked on the test rows. Calibration: Guo et al. 2017 (arXiv 1706.04599). Selective answers: El-Yaniv and Wiener
    2010; Geifman and El-Yaniv 2017 (arXiv 1705.08500).
    """

    question: ClassVar[str] = "Does the model know when it is wrong?"

    bounds: ClassVar[Mapping[str, str]] = {"coverage": "without a person", "error": "error after scaling"}

    at: float = Field(
        0.99, gt=0, lt=1, description="how often answers that go out must be right: higher leaves more to people"
    )
    coverage: float | None = Field(
        None, ge=0, le=1, description="least share of the questions that must be answered without a person"
    )
    error: float | None = Field(
        None, ge=0, le=1, description="largest calibration error, the temperature applied, that may be"
    )
    right: float = Field(1.0, gt=0, le=1, description="a grade from here on counts as right")
    rows: int = Field(1000, ge=20, description="validation rows asked, at most: more fit better, and cost more")

    def fits(self, labels: Sequence[str]) -> bool:
        """Cheap where answers are chosen from labels; else the validation rows must be answered for it alone."""
        return bool(labels)

    def measure(self, scene: GuardScene) -> GuardResult:
        """Fit on validation rows, check on test rows."""
        known = self._of_test(scene)
        fitting = self._of_validation(scene)
        if len(known.right) < 2 or len(fitting.right) < 2:
            message = "Calibration needs graded validation and test rows; at least one side has none."
            finding = Finding(name="no confidences", severity="warning", message=message)
            return GuardResult(guard=self.kind, question=self.question, findings=[finding])
        temperature = calibration.fitted_temperature(fitting.sure, fitting.right)
        threshold = calibration.safe_threshold(fitting.sure, fitting.right, self.at)
        proven = threshold is not None
        if threshold is None:
            threshold = calibration.likely_threshold(fitting.sure, fitting.right, self.at)
        measures = [*self._calibration(known, temperature, scene.seed), *self._selective(known, threshold)]
        figures: dict[str, Any] = {
            "temperature": round(temperature, _DIGITS),
            "threshold": None if threshold is None else round(threshold, 6),
            "at": self.at,
            "proven_on_validation": proven,
            "validation_rows": len(fitting.right),
            "reliability": _reliability(known.sure, known.right),
            "reliability_after": _reliability(calibration.tempered(known.sure, temperature), known.right),
            "coverage": _coverage(known),
        }
        return GuardResult(
            guard=self.kind,
            question=self.question,
            measures=measures,
            findings=self._findings(threshold, proven, len(fitting.right)),
            samples=_surest_mistakes(known),
            figures=figures,
        )

    # --- confidences ---

    def _of_test(self, scene: GuardScene) -> _Known:
        rows = list(scene.splits["test"])
        answers, told = scene.answers["tuned"], scene.confidences.get("tuned", [])
        if scene.labels:
            assert len(told) == len(rows), "answers that are labels come with confidences"
            return self._known(scene, rows, answers, [one or 0.0 for one in told])
        return self._known(scene, rows, answers, _of_words(scene, rows, answers))

    def _of_validation(self, scene: GuardScene) -> _Known:
        rows = drawn(scene.splits["validation"], self.rows, scene.seed)
        questions = [asked(row) for row in rows]
        if scene.labels:
            shares = scene.sure("tuned", questions, name="validation")
            answers = [next(iter(one), "") for one in shares]
            return self._known(scene, rows, answers, [next(iter(one.values()), 0.0) for one in shares])
        answers = scene.ask("tuned", questions, name="validation", tools=[row.tools for row in rows])
        return self._known(scene, rows, answers, _of_words(scene, rows, answers))

    def _known(
        self, scene: GuardScene, rows: Sequence[Example], answers: Sequence[str], sure: Sequence[float]
    ) -> _Known:
        grades = scene.grade(rows, answers)
        kept = [place for place, grade in enumerate(grades) if grade is not None]
        return _Known(
            [rows[place] for place in kept],
            [answers[place] for place in kept],
            np.array([sure[place] for place in kept], float),
            np.array([float((grades[place] or 0.0) >= self.right) for place in kept]),
        )

    # --- figures ---

    def _calibration(self, known: _Known, temperature: float, seed: int) -> list[Measure]:
        calm = calibration.tempered(known.sure, temperature)
        before = calibration.calibration_error_interval(known.sure, known.right, seed=seed)
        after = calibration.calibration_error_interval(calm, known.right, seed=seed)
        squares = np.stack([(known.sure - known.right) ** 2, np.ones(len(known.right))], 1)
        brier = statistics.bootstrap(squares, lambda totals: totals[..., 0] / totals[..., 1], seed=seed)
        n = len(known.right)
        return [
            _measure("calibration error", before, n),
            _measure("calibration error after scaling", after, n, bound=self.error),
            _measure("Brier score", brier, n),
        ]

    def _selective(self, known: _Known, threshold: float | None) -> list[Measure]:
        out = np.zeros(len(known.sure), bool) if threshold is None else known.sure >= threshold
        n, answered = len(out), int(out.sum())
        share = statistics.wilson(answered, n)
        measures = [_measure("answered without a person", share, n, bound=self.coverage, least=True)]
        if answered:
            exact = statistics.clopper_pearson(int(known.right[out].sum()), answered)
            bound = None if self.coverage is None else self.at
            found = _measure("right where answered without a person", exact, answered, bound=bound, least=True)
            measures.append(found.model_copy(update={"need": _scaled(found.need, n / answered)}))
        return measures

    def _findings(self, threshold: float | None, proven: bool, n: int) -> list[Finding]:
        if threshold is None:
            message = f"No confidence is high enough for answers to be right in {self.at:.1%}: all go to a person."
            remedy = "Lower 'at' of the guard confidence, or train a better model."
            return [Finding(name="no threshold", severity="warning", message=message, remedy=remedy)]
        if proven:
            return []
        message = (
            f"From {threshold:.4g} on the validation answers were right in {self.at:.1%}, but {n} validation rows do "
            "not prove it; what the test rows say stands beside it."
        )
        return [Finding(name="threshold not proven", message=message, remedy="Give more validation rows.")]


@dataclass(frozen=True)
class _Known:
    """Graded answers, how sure the model was of each, and whether each is right."""

    rows: list[Example]
    answers: list[str]
    sure: np.ndarray
    right: np.ndarray


def _of_words(scene: GuardScene, rows: Sequence[Example], answers: Sequence[str]) -> list[float]:
    """The geometric mean of the token probabilities of each answer; 0 where there is none."""
    said = [
        row.model_copy(
            update={
                "messages": [*row.prompt, Message(role="assistant", content=text)],
                "num_answer_messages": 1,
                "rejected": None,
                "spans": None,
            }
        )
        for row, text in zip(rows, answers, strict=True)
    ]
    sums, counts = scene.logprobs("tuned", said)
    return np.where(counts > 0, np.exp(np.nan_to_num(sums) / np.maximum(counts, 1)), 0.0).tolist()


def _scaled(rows: int | None, times: float) -> int | None:
    return None if rows is None else min(statistics.MOST_ROWS, round(rows * times))


def _measure(
    name: str, found: statistics.Interval, n: int, *, bound: float | None = None, least: bool = False
) -> Measure:
    return Measure(
        name=name,
        **found.plain(),
        n=n,
        tuned=found.value,
        bound=bound,
        side="at least" if least else "at most",
        need=missing(found.value, (found.high - found.low) / TWO_SIDES, n, bound),
    )


def _surest_mistakes(known: _Known) -> list[dict[str, Any]]:
    """The wrong answers of which the model was surest."""
    wrong = [place for place in np.argsort(-known.sure, kind="stable").tolist() if not known.right[place]]
    return [
        {
            "asked": known.rows[place].prompt[-1].content,
            "expected": known.rows[place].answer,
            "tuned": known.answers[place],
            "confidence": round(float(known.sure[place]), _DIGITS),
        }
        for place in wrong[:6]
    ]


def _reliability(sure: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """The bins as points of a picture."""
    return [
        {"confidence": round(one.sure, _DIGITS), "accuracy": round(one.right, _DIGITS), "n": one.n}
        for one in calibration.bins(sure, right)
    ]


def _coverage(known: _Known) -> list[dict[str, Any]]:
    """The risk-coverage curve as points of a picture, with the exact lower end of each accuracy; of fewer than ten
    answers nothing can be seen.
    """
    curve = calibration.risk_coverage(known.sure, known.right)
    points = calibration.thinned([one for one in curve if one.coverage * len(known.sure) > _FEWEST - 0.5])
    found = []
    for one in points:
        n = round(one.coverage * len(known.sure))
        low = statistics.clopper_pearson(round(one.right * n), n).low
        values = {"coverage": one.coverage, "accuracy": one.right, "low": low, "threshold": one.threshold}
        found.append({key: round(value, _DIGITS) for key, value in values.items()})
    return found
