"""Labels that cannot be learned or measured well: rare, lost on a side, lopsided, or no classes at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data.class_names import ClassRows
from tunewright.data.spellings import merged

_SHOWN = 5
_MANY = 20  # so many labels may be classes in any case


class LabelBalance(Detector):
    """Counts the rows of each label (each of several labels, each type of entity) on each side."""

    fixes: ClassVar[tuple[str, ...]] = ("rare_labels",)

    rare: int = Field(5, ge=2, description="a label with fewer training rows can hardly be learned")
    imbalance: float = Field(10, gt=1, description="largest by smallest label from which on it is worth a look")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, options: LabelBalance, scene: Scene) -> None:
        self.options, self.scene = options, scene
        self.found = ClassRows()
        self.num_uncounted = 0

    def see(self, row: Seen) -> None:
        """Count the row's classes."""
        if row.example.label is not None and self.scene.label[row.number] < 0:
            self.num_uncounted += 1
        self.found.see(row.number, row.example)

    def faults(self) -> Iterable[Fault]:
        """Labels that are none, then those that are lost, rare or lopsided."""
        if self.num_uncounted:
            yield self._uncounted()
            return
        if not self.found.names:
            return
        counts = {side: self._counts(side) for side in self.scene.sides}
        num_rows = len(np.unique(self.found.rows))
        if len(self.found.names) > _MANY and all(map(_is_number, self.found.names)):
            yield Fault(
                name="numbers",
                message=f"The labels are {len(self.found.names):,} different numbers: amounts rather than classes.",
                count=num_rows,
                remedy="Learn them with the objective regress.",
            )
            return
        yield from self._lost(counts)
        many = len(self.found.names) > max(_MANY, num_rows // 2)
        misspelt = {} if many else merged(self.found.counts())  # told as label_spellings
        usual = np.array([name not in misspelt for name in self.found.names])
        yield from self._rare(np.where(usual, counts["train"], 0))
        yield from self._lopsided(np.where(usual, counts["train"], 0))
        if many:
            yield Fault(
                name="many_labels",
                severity="warning",
                message=(
                    f"{len(self.found.names):,} different labels in {num_rows:,} rows: perhaps answers rather than "
                    "classes."
                ),
                count=num_rows,
                example=next(iter(self.found.names))[:80],
                remedy="If they are free answers, set data.format: completion and name the columns in data.fields.",
            )

    def _counts(self, side: str) -> np.ndarray:
        own = np.isin(self.found.rows, self.scene.sides[side])
        return np.bincount(self.found.number[own], minlength=len(self.found.names))

    def _names(self, which: np.ndarray) -> list[str]:
        return [name for name, number in self.found.names.items() if which[number]]

    def _uncounted(self) -> Fault:
        every = np.concatenate(list(self.scene.sides.values()))
        num_rows = self.num_uncounted + int((self.scene.label[every] >= 0).sum())
        return Fault(
            name="many_labels",
            severity="warning",
            message=(
                f"More than {len(self.scene.labels):,} different labels: answers rather than classes. They are not "
                "counted."
            ),
            count=num_rows,
            example=self.scene.labels[0][:80],
            remedy="Set data.format: completion and name the columns in data.fields.",
        )

    def _lost(self, counts: dict[str, np.ndarray]) -> Iterable[Fault]:
        kind = self.found.kind
        lost = self._names((counts["train"] == 0) & (sum(counts.values()) > 0))
        if lost:
            yield Fault(
                name="labels_not_in_training",
                severity="warning",
                message=f"{_some(len(lost), kind)} without a training row, which cannot be learned.",
                rows=self.found.of(*lost),
                example=", ".join(sorted(lost)[:_SHOWN]),
                remedy="Add training rows for them, or check how they are written.",
            )
        unmeasured = self._names((counts["test"] == 0) & (counts["train"] > 0))
        if unmeasured and counts["test"].any():
            rows = self.found.of(*unmeasured)
            yield Fault(
                name="labels_not_in_test",
                message=(
                    f"{_some(len(unmeasured), kind)} in training without a test row: nothing will be known of how well "
                    "that is learned."
                ),
                rows=rows[np.isin(rows, self.scene.sides["train"])],
                example=", ".join(sorted(unmeasured)[:_SHOWN]),
                remedy="Add rows for them (or test rows, where you give a test file).",
            )

    def _rare(self, train: np.ndarray) -> Iterable[Fault]:
        rare = self._names((train > 0) & (train < self.options.rare))
        if not rare:
            return
        rows = self.found.of(*rare)
        own = np.isin(rows, self.scene.sides["train"])
        given = np.isin(rows, np.concatenate([np.empty(0, np.int64), *self.scene.given.values()]))
        labelled = self.found.kind == "label" and not any(name.startswith("[") for name in self.scene.labels)
        yield Fault(
            name="rare_labels",
            severity="warning",
            message=f"{_some(len(rare), self.found.kind)} with fewer than {self.options.rare} training rows.",
            rows=rows[own],
            example=", ".join(f"{name} ({train[self.found.names[name]]})" for name in sorted(rare)[:_SHOWN]),
            remedy="Add rows for them, or join them to a wider label.",
            fix="leave out their rows, those that measure too where you gave no file for them" if labelled else None,
            drop=rows[~given] if labelled else (),
        )

    def _lopsided(self, train: np.ndarray) -> Iterable[Fault]:
        some = train[train > 0]
        if not len(some) or some.max() <= self.options.imbalance * some.min():
            return
        names = list(self.found.names)
        largest, smallest = names[int(train.argmax())], names[int(np.where(train > 0, train, some.max()).argmin())]
        rows = self.found.of(*self._names((train > 0) & (train * self.options.imbalance < some.max())))
        yield Fault(
            name="imbalance",
            severity="warning",
            message=(
                f"The largest {self.found.kind} has {some.max() / some.min():.3g} times the training rows of the "
                "smallest."
            ),
            rows=rows[np.isin(rows, self.scene.sides["train"])],
            example=f"{largest} ({some.max():,} rows), {smallest} ({some.min():,})",
            remedy="Judge by macro F1 rather than accuracy, and add rows to the small ones.",
        )


def _some(count: int, kind: str) -> str:
    return f"{count:,} {kind}{'s' if count > 1 else ''}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
