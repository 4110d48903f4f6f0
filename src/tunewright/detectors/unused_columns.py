"""Columns of long texts that the model never sees: perhaps what the answer rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.retrieval import COLUMNS


class UnusedColumns(Detector):
    """Looks at the columns of training rows that became no part of the conversation."""

    characters: int = Field(60, ge=1, description="on average, from which on a column is told")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        passages = COLUMNS if scene.data.retrieval is not None else ()
        return _Watch(self.characters, {scene.data.fields[word] for word in passages if word in scene.data.fields})


class _Watch:
    def __init__(self, least: int, used: set[str]) -> None:
        self.least, self.used = least, used
        self.num_texts: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def see(self, row: Seen) -> None:
        """Count the texts of a training row."""
        if row.side != "train":
            return
        for name, value in row.example.meta.items():
            if isinstance(value, str) and name not in self.used:
                self.num_texts[name] += 1
                self.characters[name] += len(value)
                self.first.setdefault(name, value)

    def faults(self) -> Iterable[Fault]:
        """Columns whose texts are long."""
        long = sorted(name for name, count in self.num_texts.items() if self.characters[name] > self.least * count)
        if not long:
            return
        yield Fault(
            name="unused_columns",
            severity="warning",
            message=f"The model never sees these columns of long texts: {', '.join(long)}.",
            count=max(self.num_texts[name] for name in long),
            example=f"{long[0]}: {self.first[long[0]][:80]}",
            remedy="If the answer rests on one of them, make it part of the prompt, or name it in data.fields.",
        )
