"""What rows are sorted into: the label of a row, each of several labels, or the types of its entities."""

from __future__ import annotations

import json
from array import array

import numpy as np

from tunewright.core.example import Example


def several(label: str) -> list[str] | None:
    """The labels of a JSON list; None of a single label."""
    if not label.startswith("["):
        return None
    try:
        found = json.loads(label)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def names_of(example: Example) -> list[str]:
    """The classes of a row, each once."""
    if example.label is not None:
        found = several(example.label)
        return [example.label] if found is None else list(dict.fromkeys(found))
    return list(dict.fromkeys(span.label for span in example.spans or ()))


class ClassRows:
    """Which rows have which class: 12 bytes for each."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.kind = "label"
        self._rows, self._numbers = array("q"), array("i")

    def see(self, number: int, example: Example) -> None:
        """Note the classes of a row."""
        if example.label is None and not example.spans:
            return
        for name in names_of(example):
            self._rows.append(number)
            self._numbers.append(self.names.setdefault(name, len(self.names)))
        if example.label is None:
            self.kind = "entity type"

    @property
    def rows(self) -> np.ndarray:
        """The row of each pair of row and class."""
        return np.frombuffer(self._rows, np.int64) if self._rows else np.empty(0, np.int64)

    @property
    def number(self) -> np.ndarray:
        """The number of the class, in `names`, of each pair."""
        return np.frombuffer(self._numbers, np.int32) if self._numbers else np.empty(0, np.int32)

    def of(self, *names: str) -> np.ndarray:
        """The rows that have any of these classes, each once."""
        return np.unique(self.rows[np.isin(self.number, [self.names[name] for name in names])])

    def counts(self) -> dict[str, int]:
        """Rows of each class."""
        times = np.bincount(self.number, minlength=len(self.names)).tolist()
        return dict(zip(self.names, times, strict=True))
