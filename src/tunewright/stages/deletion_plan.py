"""What a deletion is about: whose rows, which runs hold them, and what was made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.run import Run
from tunewright.privacy.deletion import Asked, Place, Traces

_ID = re.compile(r'\{"id": "([^"]*)"')  # how each line of a row begins


@dataclass
class InRun:
    """What a run holds of the rows. rows: how many go, by file. ids: of its own rows; earlier: of runs it replays."""

    run: Run
    name: str
    rows: dict[str, int] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)
    places: set[Place] = field(default_factory=set)  # of its own rows in their sources
    num_quarantined: int = 0
    derived: list[Path] = field(default_factory=list)
    caches: list[Path] = field(default_factory=list)
    num_trained: int = 0
    num_steps: int = 0
    because: str | None = None  # why its weights are marked

    @property
    def num_rows(self) -> int:
        """Rows that go, over all files."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class InSource:
    """A source file and its lines that hold such rows."""

    file: str
    lines: list[int]
    can_change: bool


@dataclass
class Found:
    """All that a request is about."""

    asked: Asked
    traces: Traces
    runs: list[InRun] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)  # files under the runs that belong to none, such as traffic
    sources: list[InSource] = field(default_factory=list)
    same: set[str] = field(default_factory=set)  # digests of what the rows say, to know them in other versions
    by_source: dict[str, set[str]] = field(default_factory=dict)  # run -> ids whose source line is meant
    num_mentions: int = 0
    hint: str = ""

    @property
    def num_rows(self) -> int:
        """Prepared rows that go."""
        return sum(one.num_rows for one in self.runs)

    def goes(self, name: str, row: dict[str, Any]) -> bool:
        """Whether a prepared row of a run is meant."""
        return self.is_asked(name, row) or self.is_copy(name, row)

    def is_asked(self, name: str, row: dict[str, Any]) -> bool:
        """Whether a row is meant by what it holds, by its id, or by its line in the source, of which it may say less:
        pseudonyms stand for the same person.
        """
        return asked_for(self.asked, name, row) or row.get("id") in self.by_source.get(name, ())

    def might_go(self, name: str, line: str) -> bool:
        """Whether the line of a row is worth reading: most are not, and a look at the text tells faster."""
        if "\\" in line or self.asked.ids:
            return True
        if name in self.by_source:
            id = _ID.match(line)
            if id is None or id[1] in self.by_source[name]:
                return True
        if self.asked.where is None:
            return self.asked.in_text(line)
        column, value = self.asked.where
        return value in line or (bool(self.same) and f'"{column}"' not in line)

    def is_copy(self, name: str, row: dict[str, Any]) -> bool:
        """Whether a row is not asked for itself but says what one says that is: a version may lack the column."""
        if self.is_asked(name, row) or (self.asked.where is not None and self.asked.has_column(row)):
            return False
        return bool(self.same) and said(row) in self.same


def asked_for(asked: Asked, name: str, row: dict[str, Any]) -> bool:
    """Whether a row of a run is meant by itself: by what it holds, or by its id, alone or as RUN/ID."""
    if asked.ids:
        return row.get("id") in asked.ids or f"{name}/{row.get('id')}" in asked.ids
    return asked.matches(row)


def said(row: dict[str, Any]) -> str:
    """A digest of what a row asks and answers."""
    return storage.digest([row.get(key) for key in ("messages", "rejected", "text")])
