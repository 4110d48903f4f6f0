"""What a file holds, told by its first bytes, whatever its name says."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from tunewright.core.errors import DataError
from tunewright.data.encoding import encoding_of
from tunewright.data.packing import BROKEN_FILE, members, open_bytes, packing
from tunewright.data.rows import object_of
from tunewright.data.tables import columns_of, delimiter_of

_SAMPLE_BYTES = 2**16
_SAMPLE_LINES = 20
# What holds no rows: how it begins, and what it is.
_FOREIGN = (
    (b"%PDF", "a PDF document; copy its text into a .txt or .csv file"),
    (b"\x89PNG", "a picture (PNG); name it in a column of a table"),
    (b"\xff\xd8\xff", "a picture (JPEG); name it in a column of a table"),
    (b"GIF8", "a picture (GIF); name it in a column of a table"),
    (b"RIFF", "a sound, a film or a picture; name it in a column of a table"),
    (b"ID3", "a sound (MP3); name it in a column of a table"),
    (b"fLaC", "a sound (FLAC); name it in a column of a table"),
    (b"OggS", "a sound (Ogg); name it in a column of a table"),
    (b"{\\rtf", "a text with layout (RTF); save it as plain text"),
    (b"SQLite format 3\x00", "a database (SQLite); export the table as CSV"),
    (b"\x93NUMPY", "a NumPy array; save the rows as JSON lines or Parquet"),
    (b"\x89HDF", "an HDF5 file; save the rows as JSON lines or Parquet"),
    (b"Obj\x01", "an Avro file; save the rows as JSON lines or Parquet"),
    (b"ORC\x00", "an ORC file; save the rows as JSON lines or Parquet"),
    (b"GGUF", "a model (GGUF), no data"),
    (b"\x7fELF", "a program, no data"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z); unpack it and give the folder"),
    (b"Rar!", "an archive (RAR); unpack it and give the folder"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"),
)
_A_PICKLE = "a pickle, which can run code when it is opened and is never opened here; save the rows as JSON lines"
_PICKLE = re.compile(rb"\x80[\x02-\x05](\x95|[\]}(cXqK\x8c])")
_PAGE = re.compile(r"\s*(<!doctype html|<html)", re.IGNORECASE)
_ARRAY = re.compile(r"\s*\[\s*(\{\s*(\"|\})|\])")
_OBJECT = re.compile(r"\s*\{\s*\"(?:[^\"\\]|\\.)*\"\s*:")
_WORKBOOK = re.compile(r"^(xl/workbook\.|content\.xml$)")


@dataclass(frozen=True)
class Content:
    """kind: jsonl, json, table, parquet, arrow, workbook or page (of the web), None where the bytes do not tell.

    delimiter: of a table. one_line: a single object.
    """

    kind: str | None
    delimiter: str = ""
    one_line: bool = False
    empty: bool = False


def content_of(path: Path) -> Content:
    """What a file holds. Raises DataError, in one sentence, for what can hold no rows and for what cannot be opened."""
    try:
        with open_bytes(path) as file:
            sample = file.read(_SAMPLE_BYTES)
    except BROKEN_FILE as error:
        if not packing(path):
            raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
        return Content(None)  # broken from the beginning: reading it tells so
    if not sample:
        return Content(None, empty=True)
    kind = _by_signature(path, sample)
    return Content(kind) if kind is not None else _by_text(path, sample)


def _by_signature(path: Path, sample: bytes) -> str | None:
    if sample.startswith(b"PAR1"):
        return "parquet"
    if sample.startswith((b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")) and len(sample) > 8:
        return "arrow"
    if sample.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "workbook"
    if sample.startswith(b"PK\x03\x04"):
        return "workbook" if packing(path) else _of_zip(path)
    foreign = next((what for start, what in _FOREIGN if sample.startswith(start)), None)
    if foreign is None and sample[257:262] == b"ustar":
        foreign = "an archive (tar); unpack it and give the folder"
    if foreign is None and _PICKLE.match(sample):
        foreign = _A_PICKLE
    if foreign is not None:
        raise DataError(f"{path} cannot be read: it is {foreign}.")
    return None


def _of_zip(path: Path) -> str:
    names = members(path) or []
    if any(_WORKBOOK.match(name) for name in names):
        return "workbook"
    if any(name.startswith("word/") for name in names):
        what = "it is a Word document; save it as plain text"
    elif any(name.endswith("data.pkl") for name in names):
        what = f"it holds {_A_PICKLE}"
    elif names:
        what = f"it is an archive of {len(names)} files; unpack it and give the folder"
    else:
        what = "it is a zip file that is empty or broken"
    raise DataError(f"{path} cannot be read: {what}.")


def _by_text(path: Path, sample: bytes) -> Content:
    encoding = encoding_of(sample[:4096])
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    text = codecs.getincrementaldecoder(name)("replace").decode(sample).removeprefix("\ufeff")
    if encoding.startswith("utf-8") and _is_binary(sample):
        raise DataError(f"{path} cannot be read: it is neither text nor a table of a kind that is known.")
    if _PAGE.match(text):
        return Content("page")
    if _ARRAY.match(text):
        return Content("json")
    whole = len(sample) < _SAMPLE_BYTES
    found = re.split(r"\r\n|\n|\r", text)
    lines = [line for line in (found if whole else found[:-1]) if line.strip()][:_SAMPLE_LINES]
    objects = sum(object_of(line)[0] is not None for line in lines)
    begun = sum(line.lstrip().startswith("{") for line in lines)
    if objects and objects * 2 >= len(lines):
        return Content("jsonl", one_line=len(lines) == 1)
    if _OBJECT.match(text) and begun * 2 < len(lines):
        return Content("json")
    if begun * 2 > len(lines) or not lines or lines[0].lstrip().startswith("["):
        return Content(None)  # lines that try to be JSON
    return _as_table(lines)


def _as_table(lines: list[str]) -> Content:
    """A table, when one delimiter cuts every line into the same number of columns."""
    delimiter = delimiter_of(lines)
    counts = columns_of(lines, delimiter)
    if len(counts) < 2 or counts[0] < 2 or any(count != counts[0] for count in counts[:-1]):
        return Content(None)
    return Content("table", delimiter)


def _is_binary(sample: bytes) -> bool:
    """Whether bytes that are no UTF-8, or hold zeros, have more control characters than a text, even a damaged one."""
    start = sample[:4096]
    controls = sum(start.count(byte) for byte in (*range(9), *range(14, 27), *range(28, 32), 127))
    if len(start) < 64 or controls * 20 <= len(start):
        return False
    try:
        return "\x00" in codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return True
