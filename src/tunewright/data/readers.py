"""One reader for each kind of file. A row that cannot be read is told with its line and reason; reading goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data import traffic
from tunewright.data.columnar import read_arrow, read_parquet
from tunewright.data.encoding import document, lines
from tunewright.data.file_kinds import Content, content_of
from tunewright.data.json_rows import read_json
from tunewright.data.packing import BROKEN_FILE, PACKED, bare_name, packed_name, packing
from tunewright.data.rows import RawRow, bad_row, checked, object_of
from tunewright.data.tables import read_table
from tunewright.data.workbooks import read_workbook

Reader = Callable[[Path, list[Finding]], Iterator[RawRow]]


def read_file(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """The rows of one file, by its content; where that does not tell, by its ending.

    Raises DataError for what can hold no rows, and for an ending that is not known.
    """
    named = _kind_of_name(path.name)
    content = content_of(path)
    if content.empty:
        notes.append(_empty(path))
        return iter(())
    if content.kind == "page" and named != "document":
        raise DataError(f"{path} cannot be read: it is a web page (HTML), perhaps of a download that failed.")
    kind = _kind(named, content)
    if kind is None:
        raise DataError(
            f"{path} is of no kind that can be read. Known endings: {', '.join(READERS)}; each may be followed by "
            f"{', '.join(PACKED)}."
        )
    notes += _misnamed(path, named, kind, content)
    return _with_traffic(_BY_KIND[kind](path, notes))


def read_jsonl(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """JSON lines; blank lines are no rows."""
    file = str(path)
    for line in lines(path, notes):
        if line.problem is not None:
            yield bad_row(file, line.number, line.problem, line.text)
            continue
        text = line.text
        if not text or text.isspace():
            continue
        values, problem = object_of(text)
        yield RawRow(file, line.number, values) if problem is None else bad_row(file, line.number, problem, text)


def read_document(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """A text file: one document."""
    try:
        text = document(path, notes)
    except (ValueError, *BROKEN_FILE) as error:
        yield bad_row(str(path), 1, f"unreadable: {error}", "")
        return
    if "\x00" in text:
        yield bad_row(str(path), 1, "a NUL character", text)
    else:
        yield RawRow(str(path), 1, {"text": text})


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
            return bad_row(file, begun, problem, " ".join(words))
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


_BY_KIND: dict[str, Reader] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "table": read_table,
    "workbook": read_workbook,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "tagged": read_tagged,
    "document": read_document,
}
READERS: dict[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "table",
    ".tsv": "table",
    ".xlsx": "workbook",
    ".xlsm": "workbook",
    ".xls": "workbook",
    ".ods": "workbook",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".conll": "tagged",
    ".bio": "tagged",
    ".iob": "tagged",
    ".iob2": "tagged",
    ".txt": "document",
    ".md": "document",
}
DOCUMENTS = tuple(ending for ending, kind in READERS.items() if kind == "document")
_WORDS = {
    "jsonl": "JSON lines",
    "json": "a JSON document",
    "table": "a table of text",
    "workbook": "a workbook",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "tagged": "words with tags",
    "document": "a text",
}
_BINARY = ("workbook", "parquet", "arrow")


def is_document(name: str) -> bool:
    """Whether a file's name is that of one document."""
    return bare_name(name).endswith(DOCUMENTS)


def _kind_of_name(name: str) -> str | None:
    name = bare_name(name)
    return next((kind for ending, kind in READERS.items() if name.endswith(ending)), None)


def _kind(named: str | None, content: Content) -> str | None:
    """The reader to take: the content decides where it is clear, except that texts and words may look like tables."""
    if content.kind in ("table", "page") and named in (None, "document", "tagged"):
        return named
    if named == "json" and content.one_line:
        return "json"
    if content.kind is None and named in _BINARY:
        return named  # the reader says what is wrong
    return content.kind or named


def _misnamed(path: Path, named: str | None, kind: str, content: Content) -> list[Finding]:
    """A finding when the name says something else than the content."""
    said: list[str] = []
    if kind != named and (named, kind) != ("json", "jsonl"):
        said.append(f"it holds {_WORDS[kind]}, its name says {_WORDS[named] if named else 'nothing of it'}")
    elif kind == "table" and content.delimiter:
        ending = ".tsv" if bare_name(path.name).endswith(".tsv") else ".csv"
        if (ending == ".tsv") != (content.delimiter == "\t"):
            sign = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}[content.delimiter]
            said.append(f"its columns are parted by {sign}, its name ends in {ending}")
    packed, wanted = packing(path), packed_name(path.name)
    if packed != wanted:
        said.append(f"it is packed as {'/'.join(packed)}" if packed else "it is not packed, its name says so")
    if not said:
        return []
    return [
        Finding(
            name="misnamed_file",
            severity="warning",
            message=f"{path.name} was read as what it is, not as what its name says: {'; '.join(said)}.",
            example=str(path),
            remedy=f"Rename it, such as {_true_name(path, kind, content)}, so that other programs read it too.",
        )
    ]


def _true_name(path: Path, kind: str, content: Content) -> str:
    """What the file could be called."""
    bare = path.name[: len(bare_name(path.name))]
    if _kind_of_name(bare) is not None:
        bare = Path(bare).stem
    ending = ".tsv" if content.delimiter == "\t" else next(end for end, read_as in READERS.items() if read_as == kind)
    return "".join([bare, ending, *reversed(packing(path))])


def _empty(path: Path) -> Finding:
    return Finding(
        name="empty_file",
        severity="warning",
        message=f"{path.name} is empty.",
        example=str(path),
        remedy="Copy or export it again, or take it out of the sources.",
    )


def _with_traffic(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """Rows that are logged requests become conversations, where the first row is one."""
    for row in rows:
        if row.values is None:
            yield row
        elif not traffic.is_logged(row.values):
            yield row
            yield from rows
        else:
            both = itertools.chain([row], rows)
            yield from (traffic.conversation(one) if one.values is not None else one for one in both)
