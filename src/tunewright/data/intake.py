"""Takes rows in: finds each file's format, makes Examples, and puts what cannot be used aside with a reason."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright.core import harvested
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.data import formats
from tunewright.data.media import Place
from tunewright.data.sources import HUB, RawRow, read

_LOOK_ROWS = 50  # rows of a file that decide its format
_RAW_CHARACTERS = 500
HARVESTED = "harvested"  # what is told as the format of rows that `tunewright harvest` wrote


@dataclass
class Intake:
    """What came of some sources: read == usable + bad + dropped, in all and of each file."""

    usable: int = 0
    bad: int = 0
    dropped: int = 0  # by what is done to every row
    first_bad: list[dict[str, Any]] = field(default_factory=list)  # three at most
    reasons: Counter[str] = field(default_factory=Counter)  # how many rows were put aside for each kind of reason
    formats: list[str] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    by_file: dict[str, Counter[str]] = field(default_factory=dict)  # rows_read, rows_usable and rows_quarantined
    media: Counter[str] = field(default_factory=Counter)  # usable rows that hold images, sounds, films

    def common_reasons(self) -> Counter[str]:
        """How many rows were put aside for each kind of reason, the most frequent first."""
        return Counter(dict(self.reasons.most_common()))

    @property
    def read(self) -> int:
        """Rows that were read."""
        return self.usable + self.bad + self.dropped

    def refuse_if_bad(self, what: str, max_bad: float) -> None:
        """Raise DataError when nothing can be used, or when more than the allowed share cannot."""
        if self.read == 0:
            raise DataError(f"{what}: there are no rows. Give files with at least one example.")
        if self.dropped and not self.usable + self.bad:
            raise DataError(f"{what}: all {self.dropped:,} rows were dropped by data.scrub. Choose mask or surrogate.")
        if self.usable and self.bad <= max_bad * self.read:
            return
        first = "; ".join(f"{row['file']} line {row['line']}: {row['reason']}" for row in self.first_bad)
        raise DataError(
            f"{what}: {self.bad:,} of {self.read:,} rows cannot be used, more than data.max_bad = {max_bad:g} allows. "
            f"First: {first}. Mend them (once prepared, the run's data/quarantine.jsonl lists all), or raise "
            "data.max_bad to go on without them."
        )


@dataclass(frozen=True)
class Taker:
    """Where rows go: examples, and rows that are put aside. seen: called with the file and the number of rows so far,
    for progress and to be stopped. store: where images and sounds that rows hold themselves are kept. change: what is
    done to every row first; None drops it.
    """

    keep: Callable[[Example], None] = lambda example: None
    put_aside: Callable[[dict[str, Any]], None] = lambda row: None
    seen: Callable[[str, int], None] = lambda file, rows: None
    store: Path | None = None
    change: Callable[[Example], Example | None] = lambda example: example


def take(
    sources: list[str], data: DataOptions, names: dict[str, str], taker: Taker, *, limit: int | None = None
) -> Intake:
    """Read the sources (as `files` lists them) into examples; `names`: file -> the beginning of its ids.

    Raises DataError when a file's format cannot be told.
    """
    intake = Intake(by_file={file: Counter(rows_read=0, rows_usable=0, rows_quarantined=0) for file in sources})
    rows = read(sources, limit=limit, notes=intake.notes)
    for file, of_file in itertools.groupby(rows, key=lambda row: row.file):
        _take_file(file, of_file, intake, data, names[file], taker)
    return intake


def _take_file(
    file: str,
    rows: Iterator[RawRow],
    intake: Intake,
    data: DataOptions,
    name: str,
    taker: Taker,
) -> None:
    first: list[RawRow] = []
    for row in rows:
        first.append(row)
        if sum(one.values is not None for one in first) >= _LOOK_ROWS:
            break
    values = [row.values for row in first if row.values is not None]
    own = bool(values) and all(map(harvested.is_row, values))  # examples already, whatever the other files are
    format = HARVESTED if own else _format(file, values, data) if values else None
    if format is not None and format not in intake.formats:
        intake.formats.append(format)
    place = Place(None if file.startswith(HUB) else Path(file).resolve().parent, taker.store)
    for row in itertools.chain(first, rows):
        taker.seen(file, intake.read + 1)
        intake.by_file[file]["rows_read"] += 1
        if row.values is None or format is None:
            _put_aside(intake, row, row.problem or "unreadable", taker)
            continue
        try:
            id = f"{name}:{row.line}"
            example = (
                _as_it_was(row.values, id)
                if own
                else formats.to_example(format, row.values, data.fields, id, system=data.system, place=place)
            )
        except DataError as error:
            _put_aside(intake, row, str(error), taker)
            continue
        changed = taker.change(example)
        if changed is None:
            intake.dropped += 1
            continue
        intake.usable += 1
        intake.by_file[file]["rows_usable"] += 1
        intake.media.update({part.kind for part in changed.media})
        taker.keep(changed)


def _as_it_was(values: dict[str, Any], id: str) -> Example:
    """A harvested row. Raises DataError where its file was edited into something else."""
    try:
        return Example.model_validate({**values, "id": id})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"no harvested row: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _format(file: str, values: list[dict[str, Any]], data: DataOptions) -> str:
    try:
        formats.check_fields(data.format, values, data.fields)
        return data.format if data.format != "auto" else formats.detect(values, data.fields)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _put_aside(intake: Intake, row: RawRow, reason: str, taker: Taker) -> None:
    raw = row.raw
    if row.values is not None:
        raw = str(row.values)[:_RAW_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    aside = {"file": row.file, "line": row.line, "reason": reason, "row": raw}
    intake.bad += 1
    intake.by_file[row.file]["rows_quarantined"] += 1
    intake.reasons[reason.split(":")[0]] += 1
    if len(intake.first_bad) < 3:
        intake.first_bad.append(aside)
    taker.put_aside(aside)
