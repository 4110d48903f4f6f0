"""One reader for each kind of file. A row that cannot be read is told with its line and reason; reading goes on."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data.encoding import BROKEN_FILE, MAX_LINE_BYTES, PACKED, Line, lines, whole_text

_DELIMITERS = ",;\t|"
_PARQUET_ROWS = 10_000  # read at once


@dataclass(slots=True)
class RawRow:
    """A row as the file gives it: `values`, or the `problem` that kept it from being read and how it begins (`raw`)."""

    file: str
    line: int
    values: dict[str, Any] | None
    problem: str | None = None
    raw: str = ""


def read_file(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """The rows of one file, by its ending. Raises DataError for an ending that is not known."""
    name = path.stem.lower() if path.suffix in PACKED else path.name.lower()
    for ending, reader in READERS.items():
        if name.endswith(ending):
            return reader(path, notes)
    raise DataError(
        f"{path} is of no kind that can be read. Known endings: {', '.join(READERS)}; "
        f"all but .parquet may be followed by {' or '.join(PACKED)}."
    )


def read_jsonl(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """JSON lines; blank lines are no rows."""
    file = str(path)
    for line in lines(path, notes):
        if line.problem is not None:
            yield _problem(file, line.number, line.problem, line.text)
            continue
        text = line.text
        if not text or text.isspace():
            continue
        values, problem = _object(text)
        yield RawRow(file, line.number, values) if problem is None else _problem(file, line.number, problem, text)


def read_json(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """A JSON array of objects, or an object that holds one such array; or JSON lines under a .json name."""
    file = str(path)
    try:
        text = whole_text(path, notes)
    except (ValueError, *BROKEN_FILE) as error:
        yield _problem(file, 1, f"unreadable: {error}", "")
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        first = next((line for line in text.splitlines() if line.strip()), "")
        if _object(first)[1] is None:
            yield from read_jsonl(path, [])  # the encoding has been noted already
            return
        yield _problem(file, getattr(error, "lineno", 1), f"not JSON: {getattr(error, 'msg', error)}", first)
        return
    if isinstance(document, dict):
        arrays = [value for value in document.values() if isinstance(value, list)]
        rows = arrays[0] if len(arrays) == 1 and all(isinstance(row, dict) for row in arrays[0]) else [document]
    else:
        rows = document if isinstance(document, list) else [document]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            yield _problem(file, number, f"not an object: found {_kind(row)}", json.dumps(row))
            continue
        yield checked(file, number, row)


def read_table(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """CSV or TSV with a header line; the delimiter is found from the first lines. Quoted fields may hold line ends."""
    csv.field_size_limit(MAX_LINE_BYTES)
    file = str(path)
    source = _Lines(lines(path, notes))
    delimiter = "\t" if ".tsv" in path.suffixes else _delimiter(source.peek(30))
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        source.taken.clear()
        try:
            record = next(reader, None)
            problem = source.problem()
        except csv.Error as error:
            # an open quote swallows the lines behind it: give them back, only the first line is lost
            record, problem = [], source.problem() or f"not CSV: {error}"
        first = source.taken[0] if source.taken else None
        if record is None or first is None:
            return
        if problem is not None:
            yield _problem(file, first.number, problem, first.text)
            source.give_back()
            reader = csv.reader(source, delimiter=delimiter, strict=True)
        elif not any(record):
            continue
        elif header is None:
            header = _header(record, path)
        elif len(record) != len(header):
            what = f"wrong number of columns: {len(record)} where the header has {len(header)}"
            yield _problem(file, first.number, what, first.text)
        elif any("\x00" in value for value in record):
            yield _problem(file, first.number, "a NUL character", first.text)
        else:
            yield RawRow(file, first.number, dict(zip(header, record, strict=True)))


def read_parquet(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """Parquet, some thousand rows at a time; the line is the row's number."""
    import polars

    file = str(path)
    try:
        frame = polars.scan_parquet(path)
        total = int(frame.select(polars.len()).collect().item())
        for start in range(0, total, _PARQUET_ROWS):
            for offset, row in enumerate(frame.slice(start, _PARQUET_ROWS).collect().iter_rows(named=True)):
                yield checked(file, start + offset + 1, plain(row))
    except (polars.exceptions.PolarsError, OSError) as error:
        yield _problem(file, 1, f"not Parquet: {str(error).splitlines()[0]}", "")


def read_document(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """A text file: one document."""
    try:
        text = whole_text(path, notes)
    except (ValueError, *BROKEN_FILE) as error:
        yield _problem(str(path), 1, f"unreadable: {error}", "")
        return
    if "\x00" in text:
        yield _problem(str(path), 1, "a NUL character", text)
    else:
        yield RawRow(str(path), 1, {"text": text.replace("\r\n", "\n")})


def read_tagged(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """Words with tags, a word a line and an empty line after each text (CoNLL): the first column is the word, the last
    its tag. The row's line is that of its first word.
    """
    file = str(path)
    words: list[str] = []
    tags: list[str] = []
    begun, problem = 0, None

    def row() -> RawRow:
        if problem is not None:
            return _problem(file, begun, problem, " ".join(words))
        return checked(file, begun, {"tokens": words, "tags": tags})

    for line in lines(path, notes):
        parts = (line.text or "").split()
        if line.problem is None and (not parts or parts[0] == "-DOCSTART-"):
            if begun:
                yield row()
            words, tags, begun, problem = [], [], 0, None
            continue
        begun = begun or line.number
        if line.problem is not None or len(parts) < 2:
            problem = problem or line.problem or f"no tag: '{line.text.strip()[:40]}' where a word and its tag are read"
        else:
            words.append(parts[0])
            tags.append(parts[-1])
    if begun:
        yield row()


READERS = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
    ".conll": read_tagged,
    ".bio": read_tagged,
    ".iob": read_tagged,
    ".iob2": read_tagged,
    ".txt": read_document,
    ".md": read_document,
}


class _Lines:
    """Lines for csv.reader that remember what the current record took, and can be given back."""

    def __init__(self, source: Iterator[Line]) -> None:
        self.source = source
        self.waiting: deque[Line] = deque()
        self.taken: list[Line] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.waiting.popleft() if self.waiting else next(self.source)
        self.taken.append(line)
        return line.text + "\n"

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


def _delimiter(sample: list[str]) -> str:
    """The delimiter that cuts the most lines into as many columns as the header, and into the most columns."""

    def fit(delimiter: str) -> tuple[float, int]:
        try:
            reader = csv.reader((line + "\n" for line in sample), delimiter=delimiter)
            records = [len(record) for record in reader if record]
        except csv.Error:
            return 0.0, 0
        if not records or records[0] < 2:
            return 0.0, 0
        return sum(count == records[0] for count in records) / len(records), records[0]

    return max(_DELIMITERS, key=fit)


def _header(record: list[str], path: Path) -> list[str]:
    names = [name.strip() or f"column_{number}" for number, name in enumerate(record, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns called '{twice[0]}'. Rename one of them in the header line.")
    return names


def _object(text: str) -> tuple[dict[str, Any] | None, str | None]:
    """A line's JSON object, or what is wrong with it."""
    if "\x00" in text:
        return None, "a NUL character"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"
    if not isinstance(value, dict):
        return None, f"not an object: found {_kind(value)}"
    if "\\u" in text:  # only an escape can bring in what UTF-8 cannot hold
        problem = _bad_characters(value)
        if problem is not None:
            return None, problem
    return value, None


def _bad_characters(value: dict[str, Any]) -> str | None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"half a character: the lone surrogate \\u{ord(text[error.start]):04x}"
    return "a NUL character" if "\\u0000" in text.replace("\\\\", "") else None


def checked(file: str, line: int, values: dict[str, Any]) -> RawRow:
    """A row whose characters have been looked at."""
    problem = _bad_characters(values)
    return RawRow(file, line, values) if problem is None else _problem(file, line, problem, json.dumps(values))


def plain(value: Any) -> Any:
    """Values as JSON knows them: dates and decimals of Parquet and the Hub become texts, empty keys go."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items() if item is not None}
    return str(value)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def _problem(file: str, line: int, problem: str, raw: str) -> RawRow:
    return RawRow(file, line, None, problem, raw[:500].encode("utf-8", "replace").decode("utf-8"))
