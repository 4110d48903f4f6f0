"""What detectors of texts share: rows found faulty, and those of them that a fix may leave out."""

from __future__ import annotations

from array import array
from typing import Literal

from tunewright.core.detecting import Fault, Scene, Seen
from tunewright.data.showing import short


class Rows:
    """Numbers of faulty rows in ascending order, and the first one as an example."""

    def __init__(self, scene: Scene) -> None:
        self.numbers, self.learned = array("q"), array("q")  # learned: rows that a fix may leave out
        self.example: str | None = None
        self._kept = {"test", *scene.given}

    def add(self, row: Seen, shown: str) -> None:
        """Count a row; shown: what is wrong with it, for the example."""
        self.numbers.append(row.number)
        if row.side not in self._kept:
            self.learned.append(row.number)
        if self.example is None:
            self.example = f"{row.example.id}: {short(shown, 120)}"

    def fault(
        self,
        name: str,
        message: str,
        *,
        severity: Literal["info", "warning", "problem"] = "info",
        remedy: str,
    ) -> Fault:
        """These rows as a fault, whose fix leaves those to learn from out."""
        return Fault(
            name=name,
            message=message,
            rows=self.numbers,
            severity=severity,
            example=self.example,
            remedy=remedy,
            fix="leave them out of training",
            drop=self.learned,
        )

    def __len__(self) -> int:
        return len(self.numbers)


def around(text: str, start: int, end: int, *, by: int = 30) -> str:
    """A piece of a text with what stands around it."""
    return text[max(0, start - by) : end + by]
