"""label_f1: macro F1 over a set of labels, with the figures of each class, the confusion and the calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.graders._classes import figures, macro_f1, means
from tunewright.graders._folding import fold

if TYPE_CHECKING:
    import numpy as np

OUTSIDE = "(none of the labels)"
SURE = "confidence"


class LabelF1(Grader):
    """Right or wrong for each row; the value is macro F1: the mean over the labels of 2 tp / (2 tp + fp + fn).

    Needs the expected label as the answer. The labels are those of the test rows unless given; an answer that is none
    of them is wrong, lowers recall, and is counted as `outside`. Interval and comparison by bootstrap over the rows.
    Where answers were chosen from labels, calibration is told too: expected calibration error (15 bins, Guo et al.
    2017) and the Brier score of the answer that was given. Source: macro F1 as the mean of the classes' F1 (Opitz and
    Burst 2019). Neighbours: `exact`, where common labels weigh more; `multi_label` for sets of labels.
    """

    labels: list[str] | None = Field(None, description="the label set; the labels found in the test rows when left out")
    normalise: bool = Field(True, description="case, spacing and punctuation at the ends don't count")

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when it is the expected label, else 0."""
        same = self._key(example.answer or "") == self._key(answer)
        return Grade(score=1.0) if same else Grade(score=0.0, why="another label")

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> list[Grade]:
        """The grades, each with the confidence of the answer."""
        found = []
        for example, answer in zip(examples, answers, strict=True):
            one, sure = self.grade(example, answer), desk.confidences.get(example.id)
            found.append(one if sure is None else one.model_copy(update={"facts": {SURE: sure}}))
        return found

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """For each label whether the row is a hit, of the label, and answered with it: [rows, 3 x labels]."""
        import numpy as np

        keys = {self._key(label): number for number, label in enumerate(self._labels(examples))}
        rows = np.zeros((len(examples), 3, len(keys)))
        for row, example, answer in zip(rows, examples, answers, strict=True):
            for place, text in ((1, example.answer or ""), (2, answer)):
                if text is not None and (number := keys.get(self._key(text))) is not None:
                    row[place, number] = 1
            row[0] = row[1] * row[2]
        return rows.reshape(len(examples), -1)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Macro F1 over the labels that occur in the (resampled) rows or answers."""
        import numpy as np

        return macro_f1(*np.moveaxis(totals.reshape(*totals.shape[:-1], 3, -1), -2, 0))

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Accuracy, macro precision, recall and F1, each class, answers outside, {expected: {got: n}}, calibration."""
        labels = self._labels(examples)
        keys = {self._key(label): label for label in labels}
        expected = [keys.get(self._key(example.answer or ""), OUTSIDE) for example in examples]
        got = [OUTSIDE if answer is None else keys.get(self._key(answer), OUTSIDE) for answer in answers]
        pairs = Counter(zip(expected, got, strict=True))
        classes = {label: figures(pairs[label, label], expected.count(label), got.count(label)) for label in labels}
        confusion: dict[str, dict[str, int]] = {}
        for (true_label, said_label), count in pairs.most_common():
            confusion.setdefault(true_label, {})[said_label] = count
        return {
            "accuracy": sum(count for (true, said), count in pairs.items() if true == said != OUTSIDE) / len(examples),
            **means([one for label, one in classes.items() if one["n"] or label in got]),
            "outside": got.count(OUTSIDE),
            **_calibration(grades),
            "classes": classes,
            "confusion": confusion,
        }

    def _key(self, text: str) -> str:
        return fold(text) if self.normalise else text

    def _labels(self, examples: Sequence[Example]) -> list[str]:
        """One spelling of each label, sorted."""
        given = self.labels if self.labels is not None else [example.answer or "" for example in examples]
        return sorted({self._key(label): label for label in sorted(given, reverse=True)}.values())


def _calibration(grades: Sequence[Grade]) -> dict[str, float]:
    """Of the answers that have a confidence; nothing where none has."""
    from tunewright.core.calibration import brier, calibration_error

    sure = [(grade.facts[SURE], grade.score) for grade in grades if SURE in grade.facts]
    if not sure:
        return {}
    confidences, right = zip(*sure, strict=True)
    return {"calibration_error": calibration_error(confidences, right), "brier": brier(confidences, right)}
