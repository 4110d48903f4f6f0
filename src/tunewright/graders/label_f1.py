"""label_f1: macro F1 over a set of labels, with the figures of each class and the confusion."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._folding import fold

if TYPE_CHECKING:
    import numpy as np

OUTSIDE = "(none of the labels)"


class LabelF1(Grader):
    """Right or wrong for each row; the value is macro F1: the mean over the labels of 2 tp / (2 tp + fp + fn).

    Needs the expected label as the answer. The labels are those of the test rows unless given; an answer that is none
    of them is wrong, lowers recall, and is counted as `outside`. With `separator` rows have sets of labels: a row
    is right when the sets are equal, each label counts for itself. Interval and comparison by bootstrap over the rows.
    Source: macro F1 as the mean of the classes' F1 (Opitz and Burst 2019). Neighbour: `exact`, where common labels
    weigh more.
    """

    labels: list[str] | None = Field(None, description="the label set; the labels found in the test rows when left out")
    separator: str | None = Field(
        None, min_length=1, description="rows have several labels: what parts them in the expected text; lists are JSON"
    )
    normalise: bool = Field(True, description="case, spacing and punctuation at the ends don't count")

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when it is the expected label (or set of labels), else 0."""
        if self._keys(example.answer or "") == self._keys(answer):
            return Grade(score=1.0)
        return Grade(score=0.0, why="another label" if self.separator is None else "other labels")

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """For each label whether the row is a hit, of the label, and answered with it: [rows, 3 x labels]."""
        import numpy as np

        keys = {self._key(label): number for number, label in enumerate(self._labels(examples))}
        rows = np.zeros((len(examples), 3, len(keys)))
        for row, example, answer in zip(rows, examples, answers, strict=True):
            for place, text in ((1, example.answer or ""), (2, answer)):
                row[place, [keys[key] for key in self._keys(text) if key in keys]] = 1
            row[0] = row[1] * row[2]
        return rows.reshape(len(examples), -1)

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Macro F1 over the labels that occur in the (resampled) rows or answers."""
        import numpy as np

        hits, expected, got = np.moveaxis(totals.reshape(*totals.shape[:-1], 3, -1), -2, 0)
        occurs = expected + got > 0.5
        f1 = 2 * hits / np.where(occurs, expected + got, 1)
        mean: np.ndarray = f1.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)
        return mean

    def summarise(self, examples: Sequence[Example], answers: Sequence[str | None]) -> dict[str, Any]:
        """Accuracy of rows, macro precision, recall and F1, each class, answers outside, and {expected: {got: n}}."""
        labels = self._labels(examples)
        keys = {self._key(label): label for label in labels}
        if self.separator is not None:
            return self._of_sets(labels, examples, answers)
        expected = [keys.get(self._key(example.answer or ""), OUTSIDE) for example in examples]
        got = [OUTSIDE if answer is None else keys.get(self._key(answer), OUTSIDE) for answer in answers]
        pairs = Counter(zip(expected, got, strict=True))
        classes: dict[str, dict[str, float]] = {}
        for label in labels:
            hits, true, said = pairs[label, label], expected.count(label), got.count(label)
            precision, recall = (hits / said if said else 0.0), (hits / true if true else 0.0)
            f1 = 2 * hits / (true + said) if true + said else 0.0
            classes[label] = {"precision": precision, "recall": recall, "f1": f1, "n": true}
        occurring = [figures for label, figures in classes.items() if figures["n"] or label in got]
        confusion: dict[str, dict[str, int]] = {}
        for (true_label, said_label), count in pairs.most_common():
            confusion.setdefault(true_label, {})[said_label] = count
        return {
            "accuracy": sum(count for (true, said), count in pairs.items() if true == said != OUTSIDE) / len(examples),
            "precision": sum(figures["precision"] for figures in occurring) / max(len(occurring), 1),
            "recall": sum(figures["recall"] for figures in occurring) / max(len(occurring), 1),
            "f1": sum(figures["f1"] for figures in occurring) / max(len(occurring), 1),
            "outside": got.count(OUTSIDE),
            "classes": classes,
            "confusion": confusion,
        }

    def _of_sets(
        self, labels: Sequence[str], examples: Sequence[Example], answers: Sequence[str | None]
    ) -> dict[str, Any]:
        """Where rows have several labels: there is no confusion of one with another."""
        totals = self.tally(examples, answers, []).sum(axis=0).reshape(3, -1).T.tolist()
        classes = {
            label: {
                "precision": hits / said if said else 0.0,
                "recall": hits / true if true else 0.0,
                "f1": 2 * hits / (true + said) if true + said else 0.0,
                "n": int(true),
            }
            for label, (hits, true, said) in zip(labels, totals, strict=True)
        }
        occurring = [figures for figures, (_, true, said) in zip(classes.values(), totals, strict=True) if true + said]
        pairs = zip(examples, answers, strict=True)
        same = sum(answer is not None and self._keys(e.answer or "") == self._keys(answer) for e, answer in pairs)
        means = {
            name: sum(figures[name] for figures in occurring) / max(len(occurring), 1)
            for name in ("precision", "recall", "f1")
        }
        return {"accuracy": same / len(examples), **means, "classes": classes}

    def _keys(self, text: str | None) -> set[str]:
        """The labels of a row's text: one, or those of a set; none for an answer without the field."""
        if text is None:
            return set()
        return {self._key(label) for label in ([text] if self.separator is None else self._listed(text))}

    def _listed(self, text: str) -> list[str]:
        """The labels of a JSON list, or those between separators."""
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, list):
            found = text.split(self.separator)
        return [str(label).strip() for label in found if str(label).strip()]

    def _key(self, text: str) -> str:
        return fold(text) if self.normalise else text

    def _labels(self, examples: Sequence[Example]) -> list[str]:
        """One spelling of each label, sorted."""
        answers = [example.answer or "" for example in examples]
        if self.labels is not None:
            given = self.labels
        else:
            given = answers if self.separator is None else [label for text in answers for label in self._listed(text)]
        return sorted({self._key(label): label for label in sorted(given, reverse=True)}.values())
