"""multi_label: sets of labels, by F1 of all decisions, of classes or of rows, by Jaccard, or as whole sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._classes import figures, macro_f1, means
from tunewright.graders._folding import fold
from tunewright.graders._listed import listed

if TYPE_CHECKING:
    import numpy as np

Figure = Literal["micro", "macro", "samples", "jaccard", "subset"]


class MultiLabel(Grader):
    """Rows have sets of labels. A row's grade is the F1 of its set; the value is the `figure` over all rows.

    Needs an expected answer that lists labels: a JSON list, or a text that `separator` parts. micro: F1 over all
    decisions; macro: the mean F1 of the labels that occur; samples: the mean F1 of the rows; jaccard: their mean shared
    / joined labels; subset: the share of rows whose set is right as a whole. A row without labels that got none is
    right. Labels that no test row has count as wrong ones. Source: Tsoumakas, Katakis and Vlahavas 2010; the figures
    are scikit-learn's. Neighbour: `label_f1`, for one label a row.
    """

    figure: Figure = Field(
        "macro", description="micro weighs common labels more, macro all labels alike, the others rows alike"
    )
    labels: list[str] | None = Field(None, description="the label set; the labels found in the test rows when left out")
    separator: str = Field(",", min_length=1, description="what parts the labels of a text that is no JSON list")
    normalise: bool = Field(True, description="case, spacing and punctuation at the ends don't count")

    def grade(self, example: Example, answer: str) -> Grade:
        """F1 of the row's set."""
        expected, got = self._keys(example.answer), self._keys(answer)
        hits = len(expected & got)
        why = "" if expected == got else f"{hits} of {len(expected)} labels, {len(got)} given"
        return Grade(score=_f1(expected, got), why=why)

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """For each label hit, expected, answered; then answered ones outside the labels, the row's F1, Jaccard index,
        whether the whole set is right, and 1: [rows, 3 x labels + 5].
        """
        import numpy as np

        keys = {self._key(label): number for number, label in enumerate(self._labels(examples))}
        rows = np.zeros((len(examples), 3 * len(keys) + 5))
        for row, example, answer in zip(rows, examples, answers, strict=True):
            expected, got = self._keys(example.answer), self._keys(answer)
            for place, some in enumerate((expected & got, expected, got)):
                row[[place * len(keys) + keys[key] for key in some if key in keys]] = 1
            jaccard = len(expected & got) / len(expected | got) if expected | got else 1.0
            whole = answer is not None and expected == got
            missing = answer is None
            row[-5:] = len(got - keys.keys()), 0 if missing else _f1(expected, got), 0 if missing else jaccard, whole, 1
        return rows

    def value(self, totals: np.ndarray) -> np.ndarray:
        """The figure."""
        import numpy as np

        outside, f1, jaccard, whole, count = np.moveaxis(totals[..., -5:], -1, 0)
        if self.figure in ("samples", "jaccard", "subset"):
            total = {"samples": f1, "jaccard": jaccard, "subset": whole}[self.figure]
            mean: np.ndarray = total / np.maximum(count, 1)
            return mean
        hits, expected, got = np.moveaxis(totals[..., :-5].reshape(*totals.shape[:-1], 3, -1), -2, 0)
        if self.figure == "macro":
            return macro_f1(hits, expected, got)
        both = expected.sum(axis=-1) + got.sum(axis=-1) + outside
        micro: np.ndarray = np.where(both > 0, 2 * hits.sum(axis=-1) / np.maximum(both, 1), 1.0)
        return micro

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """All five figures, macro precision and recall, answers outside the labels, and each label."""
        totals = self.tally(examples, answers, grades).sum(axis=0)
        every: tuple[Figure, ...] = ("micro", "macro", "samples", "jaccard", "subset")
        told: dict[str, float] = {name: float(self.model_copy(update={"figure": name}).value(totals)) for name in every}
        counts = totals[:-5].reshape(3, -1).T.tolist()
        classes = {label: figures(*three) for label, three in zip(self._labels(examples), counts, strict=True)}
        occurring = [one for one, (_, true, said) in zip(classes.values(), counts, strict=True) if true + said]
        return {**means(occurring), **told, "outside": int(totals[-5]), "classes": classes}

    def _keys(self, text: str | None) -> set[str]:
        return {self._key(label) for label in listed(text or "", self.separator)}

    def _key(self, text: str) -> str:
        return fold(text) if self.normalise else text

    def _labels(self, examples: Sequence[Example]) -> list[str]:
        """One spelling of each label, sorted."""
        given = self.labels
        if given is None:
            given = [label for example in examples for label in listed(example.answer or "", self.separator)]
        return sorted({self._key(label): label for label in sorted(given, reverse=True)}.values())


def _f1(expected: set[str], got: set[str]) -> float:
    return 2 * len(expected & got) / (len(expected) + len(got)) if expected or got else 1.0
