"""contamination: rows to learn from that hold items of an evaluation suite: its figures would flatter the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data.showing import short
from tunewright.data.suites import suites_of
from tunewright.detectors._rows import Rows


class Contamination(Detector):
    """Compares rows to learn from with the items of suites: a run of 13 words in common, or a short text that is equal
    or nearly equal to an item's question (5-character runs, Jaccard similarity). Without suites it has nothing to do.
    """

    fixes: ClassVar[tuple[str, ...]] = ("contamination",)
    paths: ClassVar[tuple[str, ...]] = ("suites",)

    suites: list[str] = Field([], description="files of evaluation items that must not be learned")
    similarity: float = Field(0.8, ge=0.5, le=1, description="Jaccard similarity from which on short texts are one")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look. Raises NotThere and DataError when a suite cannot be read."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, detector: Contamination, scene: Scene) -> None:
        self.scene = scene
        self.suites = suites_of(detector.suites, detector.similarity) if detector.suites else None
        self.rows = Rows(scene)
        self.met: dict[str, set[int]] = {}
        self.how: Counter[str] = Counter()

    def see(self, row: Seen) -> None:
        """Look for items in a row to learn from."""
        if self.suites is None or row.side == "test":
            return
        match = self.suites.met(row.said)
        if match is not None:
            item = match.item
            self.how[match.how] += 1
            self.met.setdefault(item.file, set()).add(item.line)
            self.rows.add(row, f"{short(row.said, 50)} <- {item.file} line {item.line}: {short(item.question, 50)}")

    def faults(self) -> Iterable[Fault]:
        """Rows that hold items; what was met of each suite goes into the notes."""
        if self.suites is None:
            return
        total = Counter(item.file for item in self.suites.items)
        self.scene.notes["suites"] = {
            file: {"items": count, "met": len(self.met.get(file, ()))} for file, count in total.items()
        }
        if not self.rows:
            return
        of = ", ".join(f"{len(lines):,} of {total[file]:,} items of {file}" for file, lines in self.met.items())
        how = ", ".join(f"{how} {count:,}" for how, count in self.how.most_common())
        yield self.rows.fault(
            name="contamination",
            severity="problem",
            message=f"{len(self.rows):,} rows to learn from hold {of} ({how}): results on them would be worth nothing.",
            remedy="Leave the rows out of training, or that suite out of your claims.",
        )
