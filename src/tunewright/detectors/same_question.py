"""Rows that ask the same: near copies, contradictions, several answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import showing
from tunewright.data.clean import answer_text, normalise
from tunewright.data.spool import classes, digest


class SameQuestion(Detector):
    """Compares the answers of rows that ask the same after normalising."""

    fixes: ClassVar[tuple[str, ...]] = ("normalised_twins", "contradictions", "several_answers")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(scene)


class _Watch:
    """Keeps two digests of each row that has twins."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        kept = np.sort(np.concatenate(list(scene.sides.values())))
        sizes = np.bincount(scene.asked[kept]) if len(kept) else np.empty(0, np.int64)
        self.has_twins = sizes > 1
        self.rows: list[int] = []
        self.learned: list[bool] = []
        self.answers: list[bytes] = []  # digests, normalised
        self.judged: list[
            bytes
        ] = []  # digests of what must be equal where rows ask the same: the label, else the answer
        self.is_text: list[bool] = []
        self.is_labelled: list[bool] = []

    def see(self, row: Seen) -> None:
        """Keep what a row with twins answers."""
        if not self.has_twins[self.scene.asked[row.number]]:
            return
        example = row.example
        said = digest(normalise(answer_text(example)))
        self.rows.append(row.number)
        self.learned.append(row.side == "train")
        self.answers.append(said)
        self.judged.append(digest(example.label) if example.label is not None else said)
        self.is_text.append(example.text is not None)
        self.is_labelled.append(example.label is not None)

    def faults(self) -> Iterable[Fault]:
        """Copies but for writing, then rows that disagree."""
        if not self.rows:
            return
        rows = np.array(self.rows)
        group = classes(self.scene.asked[rows])
        yield from self._same(rows, group)
        yield from self._differing(rows, group)

    def _same(self, rows: np.ndarray, group: np.ndarray) -> Iterable[Fault]:
        alike = classes(group, np.array(self.answers, "V16"))
        sizes = np.bincount(alike)
        if not (sizes > 1).any():
            return
        later = np.ones(len(rows), bool)
        later[np.unique(alike, return_index=True)[1]] = False
        shown = rows[np.flatnonzero(alike == np.argmax(sizes > 1))[:2]]
        yield Fault(
            name="normalised_twins",
            message="Rows that differ only in case, punctuation or spaces. They are kept, all on the same side.",
            rows=rows[sizes[alike] > 1],
            example=showing.rows(*self.scene.examples(shown)),
            remedy="Remove all but one of each where they carry no meaning of their own.",
            fix="leave out all but the first of each from the rows to learn from",
            drop=rows[later & np.array(self.learned)],
        )

    def _differing(self, rows: np.ndarray, group: np.ndarray) -> Iterable[Fault]:
        judged = classes(group, np.array(self.judged, "V16"))
        pairs = np.unique(np.stack([group, judged]), axis=1)
        several = np.bincount(pairs[0], minlength=group.max() + 1) > 1
        differs = several[group] & ~np.array(self.is_text)
        labelled, learned = np.array(self.is_labelled), np.array(self.learned)
        for name, which in (("contradictions", differs & labelled), ("several_answers", differs & ~labelled)):
            if not which.any():
                continue
            first = np.flatnonzero(which)[0]
            other = np.flatnonzero((group == group[first]) & (judged != judged[first]))[0]
            shown = self.scene.examples(np.sort(rows[[first, other]]))
            if name == "contradictions":
                yield Fault(
                    name=name,
                    severity="warning",
                    message="The same text has different labels. The model can only be right about one of them.",
                    rows=rows[which],
                    example=showing.rows(*shown),
                    remedy="Decide which label is right and mend the rows; data/findings.jsonl names them.",
                    fix="keep the label that most of the rows have; where none has more, leave all out of training",
                    drop=rows[which & learned & ~_majority(group, judged)],
                )
            else:
                yield Fault(
                    name=name,
                    message=(
                        "The same prompt has different answers: good where all are right, harmful where one is wrong."
                    ),
                    rows=rows[which],
                    example=showing.rows(*shown),
                    remedy="Look at the rows; keep one answer where only one is right.",
                    fix="keep the first answer to each prompt",
                    drop=rows[which & learned & _later(group, judged)],
                )


def _majority(group: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Which rows say what more rows of their group say than any other."""
    times = Counter(judged.tolist())
    best: dict[int, list[int]] = {}
    for one, said in zip(group.tolist(), judged.tolist(), strict=True):
        best.setdefault(one, []).append(times[said])
    winner = {}
    for one, said in set(zip(group.tolist(), judged.tolist(), strict=True)):
        if times[said] == max(best[one]):
            winner[one] = -1 if one in winner else said
    return np.array([winner[one] == said for one, said in zip(group.tolist(), judged.tolist(), strict=True)])


def _later(group: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Which rows say something else than the first row of their group."""
    first = judged[np.unique(group, return_index=True)[1]]
    return judged != first[group]
