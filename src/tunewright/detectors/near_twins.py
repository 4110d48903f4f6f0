"""Near twins: rows whose texts are nearly the same, within the rows to learn from and between files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import showing


class NearTwins(Detector):
    """Tells of near twins that the search before the split found (data/near.py)."""

    fixes: ClassVar[tuple[str, ...]] = (
        "near_twins", "near_twins_of_test", "near_twins_of_validation", "near_contradictions",
    )  # fmt: skip

    similarity: float = Field(0.8, ge=0.8, le=1, description="Jaccard similarity of 5-character runs from which on")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self.similarity, scene)


class _Watch:
    """Compares sides and labels; the rows themselves are looked at only for examples."""

    def __init__(self, similarity: float, scene: Scene) -> None:
        self.scene = scene
        near = np.asarray(scene.near.similarity) >= similarity
        self.first, self.second = scene.near.first[near], scene.near.second[near]
        self.similarity = scene.near.similarity[near]
        self.side = np.full(len(scene.asked), -1, np.int8)
        for place, rows in enumerate(scene.sides.values()):
            self.side[rows] = place
        self.names = list(scene.sides)

    def see(self, row: Seen) -> None:
        """Nothing: the pairs are known."""

    def faults(self) -> Iterable[Fault]:
        """Overlap of given files, near copies, and near copies with another label."""
        for name in self.scene.given:
            yield from self._of_given(name)
        yield from self._within()
        yield from self._contradictions()

    def _of_given(self, name: str) -> Iterable[Fault]:
        """Rows of a given file that are near rows of the sources, or were before those were dropped."""
        asked, label, own = self.scene.asked, self.scene.label, self.scene.sides[name]
        learned = [self.scene.sides[side] for side in ("train", "validation") if side not in self.scene.given]
        to_learn = np.concatenate([*learned, self.scene.dropped])
        stands = np.full(int(asked.max()) + 1, -1, np.int64)  # a row to learn from of each class
        stands[asked[to_learn][::-1]] = to_learn[::-1]
        a, b, every = asked[self.first], asked[self.second], np.unique(asked[own])
        near, other = np.concatenate([a, b, every]), np.concatenate([b, a, every])
        similarity = np.concatenate([self.similarity, self.similarity, np.ones(len(every))])
        met = np.isin(near, every) & (stands[other] >= 0)
        order = np.lexsort((-similarity[met], near[met]))
        near, other = near[met][order], other[met][order]
        drop = np.concatenate([side[np.isin(asked[side], other)] for side in learned])
        if not len(drop):  # what is equal but for writing is told where it is dropped
            return
        classes, at = np.unique(near, return_index=True)
        nearest = np.full(len(stands), -1, np.int64)
        nearest[classes] = stands[other[at]]
        rows = own[nearest[asked[own]] >= 0]
        twin = nearest[asked[rows]]
        equal, differ = asked[rows] == asked[twin], (label[rows] >= 0) & (label[rows] != label[twin])
        more = (
            f"; {int(equal.sum()):,} are equal but for writing (dropped from the sources already)"
            if equal.any()
            else ""
        )
        more += f"; {int(differ.sum()):,} have another label there" if differ.any() else ""
        yield Fault(
            name=f"near_twins_of_{name}",
            severity="warning",
            message=(
                f"{len(rows):,} {name} rows are nearly the same as rows of the sources (5-character runs, Jaccard "
                f"similarity at least 0.8){more}."
            ),
            rows=rows,
            example=showing.rows(*self.scene.examples(np.unique([rows[0], twin[0]]))),
            remedy=f"Leave the near ones out of training, or the {name} flatters the model.",
            fix="leave those rows out of training",
            drop=drop,
        )

    def _within(self) -> Iterable[Fault]:
        """Rows to learn from that are near an earlier one."""
        train = self.names.index("train")
        inside = (self.side[self.first] == train) & (self.side[self.second] == train)
        if not inside.any():
            return
        later = np.unique(self.second[inside])
        at = int(np.flatnonzero(inside)[0])
        yield Fault(
            name="near_twins",
            message=f"{len(later):,} rows to learn from are nearly the same as an earlier one. They stay on one side.",
            rows=later,
            example=showing.rows(*self.scene.examples(np.array([self.first[at], self.second[at]]))),
            remedy="Leave them out where they add nothing but time.",
            fix="leave out the later ones",
            drop=later,
        )

    def _contradictions(self) -> Iterable[Fault]:
        """Near twins with different labels."""
        label = self.scene.label
        both = (label[self.first] >= 0) & (label[self.second] >= 0) & (label[self.first] != label[self.second])
        both &= (self.side[self.first] >= 0) & (self.side[self.second] >= 0)
        if not both.any():
            return
        rows = np.unique(np.concatenate([self.first[both], self.second[both]]))
        at = int(np.flatnonzero(both)[0])
        yield Fault(
            name="near_contradictions",
            severity="warning",
            message=f"{int(both.sum()):,} pairs of rows are nearly the same but have different labels.",
            rows=rows,
            example=showing.rows(*self.scene.examples(np.array([self.first[at], self.second[at]]))),
            remedy="Look at them: one small word may decide, or one of the labels is wrong.",
            fix="leave them out of training",
            drop=rows[self.side[rows] == self.names.index("train")],
        )
