"""One label, or type of entity, written in several ways; labels written unlike all others."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data.class_names import ClassRows
from tunewright.data.relabel import relabelled
from tunewright.data.spellings import RATIO, irregular, merged

_SHOWN = 5
_ANSWERS = 0.5  # of the rows have a label of their own: answers, not classes


class LabelSpellings(Detector):
    """Compares the names of classes after folding what writers vary; rare ones with frequent ones by edits."""

    fixes: ClassVar[tuple[str, ...]] = ("label_spellings",)

    ratio: float = Field(
        RATIO,
        ge=1,
        description="rows of the usual spelling for each of a plural or typo; lower finds more, and joins more",
    )

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self.ratio)


class _Watch:
    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.found = ClassRows()

    def see(self, row: Seen) -> None:
        """Count the row's classes."""
        self.found.see(row.number, row.example)

    def faults(self) -> Iterable[Fault]:
        """Names that are one, and names that stand out."""
        counts = self.found.counts()
        if not counts or len(counts) > max(20, _ANSWERS * len(self.found.rows)) or all(map(_is_number, counts)):
            return
        names = merged(counts, self.ratio)
        if names:
            yield self._spellings(names, counts)
        odd = irregular(name for name in counts if name not in names)
        if odd:
            yield Fault(
                name="irregular_labels",
                message=f"{len(odd)} of {len(counts):,} {self.found.kind}s are written unlike all others.",
                rows=self.found.of(*odd),
                example=", ".join(f"'{name}' ({counts[name]:,} rows)" for name in odd[:_SHOWN]),
                remedy="Rename them where that is no purpose: the model must write them to the letter.",
            )

    def _spellings(self, names: dict[str, str], counts: dict[str, int]) -> Fault:
        rows = self.found.of(*names)
        best = names[max(names, key=lambda name: counts[name])]
        group = [best, *(name for name in sorted(names, key=lambda name: -counts[name]) if names[name] == best)]
        return Fault(
            name="label_spellings",
            severity="warning",
            message=(
                f"{len(set(names.values())):,} {self.found.kind}s are written in several ways, in {len(rows):,} rows "
                "otherwise than mostly; each spelling counts as a class of its own."
            ),
            rows=rows,
            example=", ".join(f"'{name}' ({counts[name]:,})" for name in group[:_SHOWN]),
            remedy="Write each in one way.",
            fix="write each in the way most rows do",
            change=partial(relabelled, names=names),
        )


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
