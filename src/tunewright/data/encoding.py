"""Bytes to text, line by line: UTF-8, byte order marks, UTF-16, packed files. A guess is reported."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tunewright.core.report import Finding

MAX_LINE_BYTES = 8 * 2**20  # a longer line is no example of anything: a lost newline, or a file of another kind
_SAMPLE_LINES = 200
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
BROKEN_FILE = (OSError, EOFError, zlib.error, lzma.LZMAError)
PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


@dataclass(slots=True)
class Line:
    """One line of a file: its text without the line end, or why it could not be read."""

    number: int
    text: str
    problem: str | None = None


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes; a packed file is unpacked on the way."""
    return cast(BinaryIO, PACKED[path.suffix](path, "rb")) if path.suffix in PACKED else path.open("rb")


def lines(path: Path, notes: list[Finding]) -> Iterator[Line]:
    """Every line of a text file, in flat memory. A line that cannot be decoded carries its problem."""
    number = 0
    try:
        with open_bytes(path) as file:
            encoding = _by_first_bytes(file.read(4096))
        if encoding in ("utf-8", "utf-8-sig"):
            source = _utf8_lines(path, notes)
        else:
            source = _decoded_lines(path, encoding)
        for line in source:
            number = line.number
            yield line
    except BROKEN_FILE as error:
        notes.append(
            Finding(
                name="broken_file",
                severity="problem",
                message=f"{path.name} breaks off behind line {number}: {error}. What follows is not read.",
                example=str(path),
                remedy="Copy or pack the file again.",
            )
        )
        yield Line(number + 1, "", f"the file breaks off: {error}")


def whole_text(path: Path, notes: list[Finding]) -> str:
    """A whole file as text. Raises ValueError when no encoding fits."""
    with open_bytes(path) as file:
        content = file.read()
    encoding = _by_first_bytes(content[:4096])
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        guess = _guess(content[: 2**18]) if encoding == "utf-8" else None
        if guess is None:
            byte = f"byte 0x{content[error.start]:02x} at {error.start}"
            raise ValueError(f"not {encoding.upper()} text: {byte}") from None
        _note_guess(path, guess, notes)
        return content.decode(guess, errors="replace")


def _by_first_bytes(sample: bytes) -> str:
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if even + odd > len(sample) // 4:  # ASCII text as UTF-16 has a zero in every second byte
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def _utf8_lines(path: Path, notes: list[Finding]) -> Iterator[Line]:
    fallback: str | None = None
    asked = False
    with open_bytes(path) as file:
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                yield Line(number, raw[:200].decode("utf-8", "replace"), _too_long(len(raw) + _skip_line(file)))
                continue
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                if not asked:
                    asked, fallback = True, _whole_file_guess(path)
                    if fallback is not None:
                        _note_guess(path, fallback, notes)
                if fallback is None:
                    what = f"not UTF-8: byte 0x{raw[error.start]:02x} at {error.start}"
                    yield Line(number, raw.decode("utf-8", "replace").rstrip("\r\n"), what)
                    continue
                text = raw.decode(fallback, errors="replace")
            yield Line(number, text.rstrip("\r\n"))


def _decoded_lines(path: Path, encoding: str) -> Iterator[Line]:
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="\n") as text:
        number = 0
        while line := text.readline(MAX_LINE_BYTES + 1):
            number += 1
            problem = None
            if len(line) > MAX_LINE_BYTES and not line.endswith("\n"):
                length = len(line)
                while (rest := text.readline(2**20)) and not rest.endswith("\n"):
                    length += len(rest)
                line, problem = line[:200], _too_long(length)
            elif "\ufffd" in line:
                problem = f"not {encoding.upper()}: some bytes are no characters"
            yield Line(number, line.rstrip("\r\n").removeprefix("\ufeff" if number == 1 else ""), problem)


def _skip_line(file: BinaryIO) -> int:
    skipped = 0
    while rest := file.readline(2**20):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _too_long(length: int) -> str:
    return f"too long: a line of {length / 2**20:.1f} MiB, the most is {MAX_LINE_BYTES // 2**20}"


def _whole_file_guess(path: Path) -> str | None:
    """Another encoding, when the file speaks against UTF-8: two lines or more are not, and none needs it."""
    odd: list[bytes] = []
    with open_bytes(path) as file:
        while raw := file.readline(MAX_LINE_BYTES + 1):
            if raw.isascii():
                continue
            try:
                raw.decode("utf-8")
                return None
            except UnicodeDecodeError:
                if len(odd) < _SAMPLE_LINES:
                    odd.append(raw)
    return _guess(b"".join(odd)) if len(odd) >= 2 else None


def _guess(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return None if best is None or best.encoding.startswith(("utf", "ascii")) else best.encoding


def _note_guess(path: Path, encoding: str, notes: list[Finding]) -> None:
    notes.append(
        Finding(
            name="encoding",
            severity="warning",
            message=f"{path.name} is not UTF-8; it was read as {encoding}, which is a guess.",
            example=str(path),
            remedy="Look at a few rows with accents or quotes; if they are wrong, save the file as UTF-8.",
        )
    )
