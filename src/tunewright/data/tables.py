"""Tables as text: CSV, TSV and their kin. The delimiter is found from the first lines."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data.cells import plain
from tunewright.data.encoding import MAX_LINE_BYTES, Line, lines
from tunewright.data.packing import bare_name
from tunewright.data.rows import RawRow, bad_row

DELIMITERS = ",;\t|"
_NUL = "a NUL character"
_HEADER = "the header line again: one file was put behind another"
_PEEKED = 30  # lines that decide the delimiter
_SEPARATOR = re.compile(r'"?sep=([^\w "]|\t)"?$', re.IGNORECASE)  # Excel's first line


def read_table(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """CSV or TSV with a header line; quoted fields may hold line ends, which become line feeds.

    A row's line is its first. Raises DataError when two columns have one name.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    yield from _Table(path, notes).rows()


def columns_of(sample: list[str], delimiter: str) -> list[int]:
    """How many columns each record of these lines has; none when they are no CSV."""
    try:
        reader = csv.reader((line + "\n" for line in sample), delimiter=delimiter)
        return [len(record) for record in reader if record]
    except csv.Error:
        return []


def delimiter_of(sample: list[str], first: str = ",") -> str:
    """The delimiter that cuts the most lines into as many columns as the header, and into the most columns.

    first: the one to take where others do as well.
    """

    def fit(delimiter: str) -> tuple[float, int]:
        counts = columns_of(sample, delimiter)
        if not counts or counts[0] < 2:
            return 0.0, 0
        return sum(count == counts[0] for count in counts) / len(counts), counts[0]

    return max(first + DELIMITERS.replace(first, ""), key=fit)


class _Table:
    """One table while it is read."""

    def __init__(self, path: Path, notes: list[Finding]) -> None:
        self.path = path
        self.file = str(path)
        self.lines = _Lines(lines(path, notes))
        sample = self.lines.peek(_PEEKED)
        given = _SEPARATOR.match(sample[0].strip(" ")) if sample else None
        if given is not None:
            next(self.lines)
            self.delimiter = given[1]
        else:
            self.delimiter = delimiter_of(sample, "\t" if bare_name(path.name).endswith(".tsv") else ",")
        self.header: list[str] = []

    def rows(self) -> Iterator[RawRow]:
        """Every record behind the header."""
        reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        width, name = 0, ""
        while True:
            self.lines.begin()
            try:
                record = next(reader, None)
                problem = self.lines.problem() if self.lines.odd else None
            except csv.Error as error:
                # an open quote swallows the lines behind it: give them back, only the first line is lost
                record, problem = [], self.lines.problem() or f"not CSV: {error}"
            taken = self.lines.taken
            if record is None or not taken:
                return
            first = taken[0]
            if problem is None:
                if width and len(record) == width and record[0].strip() and record[0] != name and not self.lines.odd:
                    yield RawRow(self.file, first.number, dict(zip(self.header, map(plain, record), strict=True)))
                    continue
                record, problem = self._fitting(record)
            if problem is not None:
                literal = self._literal(first)
                if literal is not None:
                    yield RawRow(self.file, first.number, literal)
                else:
                    yield bad_row(self.file, first.number, problem, first.text)
                if problem not in (_NUL, _HEADER):
                    self.lines.give_back()
                    reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
            elif any(map(str.strip, record)):
                if not self.header:
                    self.header = _header(record, self.path)
                    width, name = len(self.header), self.header[0]
                else:
                    yield RawRow(self.file, first.number, dict(zip(self.header, map(plain, record), strict=True)))

    def _fitting(self, record: list[str]) -> tuple[list[str], str | None]:
        """The record cut to the header's columns, and what is wrong with it."""
        width = len(self.header)
        if not width or not any(map(str.strip, record)):
            return record, None
        if len(record) > width and not any(record[width:]):  # delimiters behind the last cell
            record = record[:width]
        if len(record) != width:
            return record, f"wrong number of columns: {len(record)} where the header has {width}"
        if any("\x00" in value for value in record):
            return record, _NUL
        if record == self.header:
            return record, _HEADER
        return record, None

    def _literal(self, line: Line) -> dict[str, str] | None:
        """A line of a tab separated table whose quotes are no more than signs in the text."""
        if self.delimiter != "\t" or not self.header or line.problem is not None or "\x00" in line.text:
            return None
        record = line.text.split("\t")
        if '"' not in line.text or len(record) != len(self.header):
            return None
        return dict(zip(self.header, record, strict=True))


class _Lines:
    """Lines for csv.reader that remember what the current record took, and can be given back."""

    def __init__(self, source: Iterator[Line]) -> None:
        self.source = source
        self.waiting: deque[Line] = deque()
        self.taken: list[Line] = []
        self.odd = False  # a line that was taken has a problem, or a NUL

    def begin(self) -> None:
        """Forget the lines of the record before."""
        self.taken.clear()
        self.odd = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.waiting.popleft() if self.waiting else next(self.source)
        self.taken.append(line)
        text = line.text
        if line.problem is not None or "\x00" in text:
            self.odd = True
        return text + "\n"

    def peek(self, count: int) -> list[str]:
        """The next lines, without taking them."""
        while len(self.waiting) < count and (line := next(self.source, None)) is not None:
            self.waiting.append(line)
        return [line.text for line in self.waiting if line.problem is None]

    def problem(self) -> str | None:
        """What was wrong with the first line of the current record, or with a later one that its quote took in."""
        return next((line.problem for line in self.taken if line.problem is not None), None)

    def give_back(self) -> None:
        """Let all lines but the first be read again."""
        self.waiting.extendleft(reversed(self.taken[1:]))


def _header(record: list[str], path: Path) -> list[str]:
    names = [plain(name.strip().lstrip("\ufeff")) or f"column_{number}" for number, name in enumerate(record, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns called '{twice[0]}'. Rename one of them in the header line.")
    return names
