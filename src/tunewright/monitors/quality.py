"""quality: how often are answers right, as far as their confidences tell?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core import calibration, two_samples
from tunewright.core.monitoring import FEWEST, MOST_EXAMPLES, Figure, Monitor, MonitorResult, MonitorScene
from tunewright.core.report import Finding
from tunewright.core.statistics import normal_quantile

_RESAMPLES = 1000
_VALID = "It holds where only the questions have changed, not what is right to answer (covariate shift)."


class Quality(Monitor):
    """Estimates the accuracy of answers that nobody has graded, where answers come with confidences.

    CBPE: the mean of the calibrated confidences (NannyML, confidence-based performance estimation). ATC: the share of
    confidences above the threshold which as many test answers exceed as were right (Garg et al. 2022, arXiv
    2201.04234). Both hold under covariate shift only: where a question has come to mean something else, they see
    nothing; the monitor `feedback` does.
    """

    question: ClassVar[str] = "Are answers still right as often, as far as their confidences tell?"

    right: float = Field(1.0, gt=0, le=1, description="a grade from here on counts as right")
    least: float = Field(0.02, ge=0, lt=1, description="a fall of the estimate by less than this is told, and no alarm")

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """Estimate by both; the alarm hangs on the mean confidence."""
        tested = [one for one in scene.tested if one.confidence is not None and one.right is not None]
        answered = [one for one in scene.turns if one.confidence is not None]
        if min(len(tested), len(answered)) < FEWEST:
            message = (
                f"Quality without labels needs confidences: {len(answered):,} requests and {len(tested):,} graded test "
                f"rows have one, {FEWEST} of each are needed."
            )
            missing = [Finding(name="no confidences", message=message)]
            return self._result([], missing if tested or answered else [])
        temperature = scene.temperature or 1.0
        sure = np.array([one.confidence for one in answered], float)
        known = np.array([one.confidence for one in tested], float)
        right = np.array([(one.right or 0.0) >= self.right for one in tested], float)
        calm, calm_known = calibration.tempered(sure, temperature), calibration.tempered(known, temperature)
        least_sure = np.argsort(sure, kind="stable")[:MOST_EXAMPLES]
        examples = [answered[place].id for place in least_sure.tolist()]
        findings = []
        if scene.temperature is None:
            message = (
                "Confidences were never calibrated here: the guard confidence measures how far they can be trusted."
            )
            findings.append(Finding(name="not calibrated", message=message))
        return self._result(
            [self._mean(calm, calm_known, right, examples), self._above(sure, known, right, scene)], findings
        )

    def _result(self, figures: list[Figure], findings: list[Finding]) -> MonitorResult:
        return MonitorResult(monitor=self.kind, question=self.question, figures=figures, findings=findings)

    def _mean(self, sure: np.ndarray, known: np.ndarray, right: np.ndarray, examples: list[str]) -> Figure:
        """CBPE. The calibration's own offset on the test rows is taken off, so that no shift means no fall."""
        off = float(known.mean() - right.mean())
        value = float(sure.mean()) - off
        spread = np.sqrt(sure.var(ddof=1) / len(sure) + (known - right).var(ddof=1) / len(known))
        reach = normal_quantile(0.975) * float(spread)
        return Figure(
            name="estimated accuracy (mean confidence)",
            value=min(1.0, max(0.0, value)),
            low=max(0.0, value - reach),
            high=min(1.0, value + reach),
            n=len(sure),
            reference=float(right.mean()),
            p=two_samples.fall_p(known, sure),
            worth=float(known.mean() - sure.mean()) >= self.least,
            told=(
                f"Accuracy is estimated at {value:.1%} ({value - reach:.1%} to {value + reach:.1%}) from the "
                f"confidences of {len(sure):,} answers; the test rows had {right.mean():.1%}. {_VALID}"
            ),
            remedy="Let people grade some of the least sure answers, which are the examples.",
            examples=examples,
        )

    def _above(self, sure: np.ndarray, known: np.ndarray, right: np.ndarray, scene: MonitorScene) -> Figure:
        """ATC, with an interval from resamples of test rows and requests."""
        generator = np.random.default_rng(scene.seed)
        drawn = []
        for _ in range(_RESAMPLES):
            rows = generator.integers(0, len(known), len(known))
            mine = sure[generator.integers(0, len(sure), len(sure))]
            drawn.append(atc(mine, known[rows], right[rows]))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Figure(
            name="estimated accuracy (threshold)",
            value=atc(sure, known, right),
            low=float(low),
            high=float(high),
            n=len(sure),
            reference=float(right.mean()),
        )


def atc(sure: np.ndarray, known: np.ndarray, right: np.ndarray) -> float:
    """The share of confidences at the threshold or above, which as many of the known ones reach as were right
    (Garg et al. 2022, equation 2).
    """
    wrong = round(len(known) * (1 - float(right.mean())))
    if wrong == len(known):
        return float((sure > known.max()).mean())
    return float((sure >= np.sort(known)[wrong]).mean())
