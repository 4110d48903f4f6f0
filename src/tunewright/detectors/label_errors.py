"""Labels that are likely wrong: what a quick classifier, which has not learned from a row, is sure of against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import confident, guessing, showing
from tunewright.data.class_names import several
from tunewright.data.clean import prompt_text
from tunewright.data.drawn import Drawn
from tunewright.data.features import tfidf
from tunewright.data.spellings import joined

_LEAST_ROWS = 100  # fewer say nothing about labels
_LEAST_OF_CLASS = 5  # rows of a label, to be learned and guessed
_CHARACTERS = 2000  # of a text that are looked at
_SHOWN = 20


class LabelErrors(Detector):
    """Confident learning (Northcutt, Jiang & Chuang 2021, arXiv 1911.00068) on out-of-fold probabilities.

    The classifier is naive Bayes on words and letters, or least squares on the vectors of an encoder. Twins and near
    twins are in one fold. Rows to learn from are guessed from each other, those of the test side from all of these.
    """

    fixes: ClassVar[tuple[str, ...]] = ("label_errors",)
    paths: ClassVar[tuple[str, ...]] = ("encoder",)

    odds: float = Field(
        9, ge=1, description="times that another label must be as probable; 1 tells every row off the diagonal"
    )
    most: int = Field(20_000, ge=100, description="rows that are looked at, drawn evenly: more take time")
    encoder: str | None = Field(
        None, description="folder of an encoder that guesses by meaning, not by words; takes minutes"
    )

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


@dataclass(frozen=True)
class _Looked:
    """What came of it, for each row looked at: its number, side, label, the one it should have (-1), probabilities."""

    rows: np.ndarray
    test: np.ndarray
    label: np.ndarray
    rather: np.ndarray
    probability: np.ndarray
    names: list[str]
    wrong: float

    def own(self, which: np.ndarray) -> np.ndarray:
        """Self-confidence: the probability of the label that the row has."""
        return np.asarray(self.probability[which, self.label[which]])


class _Watch:
    """Keeps the texts of the rows that are looked at."""

    def __init__(self, options: LabelErrors, scene: Scene) -> None:
        self.options, self.scene = options, scene
        self.label = joined(scene.labels, scene.label)
        self.drawn = Drawn(_worth_looking(scene, self.label), options.most)

    def see(self, row: Seen) -> None:
        """Keep what is asked."""
        if row.number in self.drawn:
            self.drawn.texts.append(prompt_text(row.example)[:_CHARACTERS])

    def faults(self) -> Iterable[Fault]:
        """Rows to learn from and rows that measure whose label is likely another."""
        found = self._look()
        if found is None:
            return
        train = np.isin(found.rows, self.scene.sides["train"])
        learned = np.flatnonzero((found.rather >= 0) & train)
        held = np.flatnonzero((found.rather >= 0) & ~train)
        if len(learned):
            yield self._fault("label_errors", found, learned, f"{train.sum():,} training rows", drop=True)
        if len(held):
            yield self._fault("suspicious_labels", found, held, f"{(~train).sum():,} rows that measure", drop=False)

    def _look(self) -> _Looked | None:
        rows = self.drawn.rows
        if len(rows) < _LEAST_ROWS:
            return None
        self.scene.poll("looking for wrong labels", 0, len(rows))
        known, label = np.unique(self.label[rows], return_inverse=True)
        test = np.isin(rows, self.scene.sides["test"])
        cluster = guessing.clusters(self.scene.asked, self.scene.near.first, self.scene.near.second)[rows]
        fold = np.where(test, -1, guessing.folds(cluster))
        if test.all() or len(np.unique(fold[~test])) < guessing.FOLDS:
            return None
        scores = self._scores(label, len(known), fold)
        probability = guessing.probabilities(scores, label, ~test)
        threshold = confident.thresholds(probability[~test], label[~test])
        rather = confident.doubtful(probability, label, threshold, self.options.odds)
        wrong = confident.wrong_share(probability[~test], label[~test], threshold)
        names = [self.scene.labels[number] for number in known]
        found = _Looked(rows, test, label, rather, probability, names, wrong)
        self._note(found)
        return found

    def _scores(self, label: np.ndarray, classes: int, fold: np.ndarray) -> np.ndarray:
        texts = self.drawn.texts
        if self.options.encoder is None:
            return guessing.bayes_scores(tfidf(texts, guessing.features_for(classes)), label, classes, fold)
        from tunewright.models.text_vectors import text_vectors

        vectors = text_vectors(
            self.options.encoder, texts, lambda done: self.scene.poll("reading texts", done, len(texts))
        )
        return guessing.ridge_scores(vectors, label, classes, fold)

    def _note(self, found: _Looked) -> None:
        told = np.flatnonzero(found.rather >= 0)
        worst = told[np.argsort(found.own(told), kind="stable")][:_SHOWN]
        examples = {int(found.rows[at]): at for at in worst}
        ids = dict(zip(sorted(examples), (e.id for e in self.scene.examples(np.sort(found.rows[worst]))), strict=True))
        right = found.probability.argmax(axis=1) == found.label
        self.scene.notes["label_errors"] = {
            "rows_looked_at": len(found.rows),
            "guessed_right": round(float(right[~found.test].mean()), 4),
            "wrong_by_the_confident_joint": round(found.wrong, 4),
            "worst": [
                {
                    "row": ids[int(found.rows[at])],
                    "label": found.names[found.label[at]],
                    "rather": found.names[found.rather[at]],
                    "confidence": round(float(found.probability[at, found.label[at]]), 6),
                }
                for at in worst
            ],
        }

    def _fault(self, name: str, found: _Looked, which: np.ndarray, of: str, *, drop: bool) -> Fault:
        worst = int(which[np.argmin(found.own(which))])
        example = next(iter(self.scene.examples(found.rows[[worst]])))
        rather = found.names[found.rather[worst]]
        message = (
            f"{len(which):,} of {of} likely have a wrong label: a classifier that has not learned from them holds "
            f"another label for at least {self.options.odds:g} times as probable{self.drawn.told()}."
        )
        if drop:
            return Fault(
                name=name,
                severity="warning",
                message=message,
                rows=found.rows[which],
                example=f"{showing.row(example)}; rather '{rather}'",
                remedy="Look at them, the worst first (numbers.label_errors); mend the labels that are wrong.",
                fix="leave those rows out of training",
                drop=found.rows[which],
            )
        return Fault(
            name=name,
            severity="warning",
            message=message,
            rows=found.rows[which],
            example=f"{showing.row(example)}; rather '{rather}'",
            remedy="Look at them: a wrong label in the test makes a right answer count as wrong. They stay.",
        )


def _worth_looking(scene: Scene, label_of: np.ndarray) -> np.ndarray:
    """Rows of labels that can be learned and guessed; none where labels are answers, amounts or lists."""
    kept = np.sort(np.concatenate(list(scene.sides.values())))
    label = label_of[kept]
    sizes = np.bincount(label[label >= 0], minlength=len(scene.labels))
    train = label_of[scene.sides["train"]]
    own = np.bincount(train[train >= 0], minlength=len(scene.labels))
    common = np.flatnonzero((sizes >= _LEAST_OF_CLASS) & (own >= _LEAST_OF_CLASS))
    names = [scene.labels[number] for number in common.tolist()]
    amounts = len(common) > 20 and all(name.replace(".", "", 1).lstrip("-").isdigit() for name in names)
    if not 2 <= len(common) <= max(20, len(kept) // 5) or amounts or any(several(name) for name in names):
        return np.empty(0, np.int64)
    return kept[np.isin(label, common)]
