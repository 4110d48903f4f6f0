"""One label written in several ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data.clean import normalise
from tunewright.data.relabel import relabelled


class LabelSpellings(Detector):
    """Compares the labels after folding what writers vary."""

    fixes: ClassVar[tuple[str, ...]] = ("label_spellings",)

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch()


class _Watch:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: dict[str, list[int]] = {}

    def see(self, row: Seen) -> None:
        """Count the row's label."""
        label = row.example.label
        if label is not None:
            self.counts[label] += 1
            self.rows.setdefault(label, []).append(row.number)

    def faults(self) -> Iterable[Fault]:
        """Labels that are one when folded."""
        folded: dict[str, list[str]] = {}
        for label in self.counts:
            folded.setdefault(normalise(label.replace("_", " ").replace("-", " ")), []).append(label)
        several = [labels for labels in folded.values() if len(labels) > 1]
        if not several:
            return
        names = {label: max(labels, key=lambda one: self.counts[one]) for labels in several for label in labels}
        yield Fault(
            name="label_spellings",
            severity="warning",
            message="One label is written in several ways; each counts as a class of its own.",
            rows=sorted(number for label in names for number in self.rows[label]),
            example=", ".join(f"'{label}' ({self.counts[label]})" for label in several[0]),
            remedy="Write each label in one way.",
            fix="write each in the way most rows do",
            change=partial(relabelled, names={old: new for old, new in names.items() if old != new}),
        )
