"""Bytes to text, line by line or block by block: UTF-8, byte order marks, UTF-16 and UTF-32. A guess is reported."""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tunewright.core.report import Finding
from tunewright.data.packing import BROKEN_FILE, open_bytes
from tunewright.data.repair import Repair, blocks

MAX_LINE_BYTES = 8 * 2**20  # a longer line is no example of anything: a lost newline, or a file of another kind
MAX_DOCUMENT_BYTES = 256 * 2**20  # a text file is one example, and is read whole
_BLOCK_BYTES = 2**18
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_BOM = b"\xef\xbb\xbf"
_STRANGE = ("Cc", "Cn", "Co")  # control characters, and what stands for none
NO_CHARACTER = "\udfff"  # stands for bytes that are none, until the line has been told
codecs.register_error("tunewright.mark", lambda error: (NO_CHARACTER, error.end))  # type: ignore[attr-defined]


@dataclass(slots=True)
class Line:
    """One line of a file: its text without the line end, or why it could not be read."""

    number: int
    text: str
    problem: str | None = None


@dataclass(slots=True)
class Block:
    """A piece of a file's text. odd: some of its bytes are no UTF-8, and stand in it as lone surrogates."""

    text: str
    odd: bool = False


def lines(path: Path, notes: list[Finding]) -> Iterator[Line]:
    """Every line of a text file, in flat memory. A line that cannot be decoded carries its problem.

    A line ends with a line feed, a carriage return, or both. Raises DataError for an archive of several files.
    """
    number = 0
    try:
        with open_bytes(path) as file:
            encoding = encoding_of(file.read(4096))
        if encoding in ("utf-8", "utf-8-sig"):
            source = _utf8_lines(path, notes)
        else:
            source = _decoded_lines(path, encoding)
        for line in source:
            number = line.number
            yield line
    except BROKEN_FILE as error:
        note_broken(path, f"line {number}", error, notes)
        yield Line(number + 1, "", f"the file breaks off: {error}")


def text_blocks(path: Path) -> Iterator[Block]:
    """The whole text in blocks, in flat memory, whatever its lines. Raises what BROKEN_FILE names."""
    with open_bytes(path) as file:
        raw = file.read(_BLOCK_BYTES)
        encoding = encoding_of(raw[:4096])
        if encoding not in ("utf-8", "utf-8-sig"):
            decoder = codecs.getincrementaldecoder(encoding)("tunewright.mark")
            while raw:
                text = decoder.decode(raw).removeprefix("\ufeff")
                yield Block(text, odd=NO_CHARACTER in text)
                raw = file.read(_BLOCK_BYTES)
            text = decoder.decode(b"", final=True)
            yield Block(text, odd=bool(text))
            return
        raw = raw.removeprefix(_BOM)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        while True:
            text = decoder.decode(raw, final=not raw)
            yield Block(text, odd=not text.isascii() and not _is_unicode(text))
            if not raw:
                return
            raw = file.read(_BLOCK_BYTES)


def document(path: Path, notes: list[Finding]) -> str:
    """A text file as one text; line ends become line feeds. Raises ValueError when no encoding fits."""
    with open_bytes(path) as file:
        content = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"a document of more than {MAX_DOCUMENT_BYTES // 2**20} MiB; cut it into several files")
    encoding = encoding_of(content[:4096])
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        if encoding not in ("utf-8", "utf-8-sig"):
            raise ValueError(f"not {encoding.upper()} text: byte {error.start}") from None
        repair = repair_of(path, notes)
        texts = []
        for number, raw in enumerate(content.removeprefix(_BOM).split(b"\n"), start=1):
            text, problem = _decoded(raw, number, repair)
            if problem is not None:
                raise ValueError(f"{problem} of line {number}") from None
            texts.append(text)
        repair.tell()
        text = "\n".join(texts)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def repair_of(path: Path, notes: list[Finding]) -> Repair:
    """What to make of bytes that are no UTF-8 in this file."""

    def pieces() -> Iterator[bytes]:
        with open_bytes(path) as file:
            yield from blocks(file, MAX_LINE_BYTES + 1)

    return Repair(path, notes, pieces)


def note_broken(path: Path, where: str, error: Exception, notes: list[Finding]) -> None:
    """Say that a file ends before its time."""
    notes.append(
        Finding(
            name="broken_file",
            severity="problem",
            message=f"{path.name} breaks off behind {where}: {error}. What follows is not read.",
            example=str(path),
            remedy="Copy or pack the file again.",
        )
    )


def encoding_of(sample: bytes) -> str:
    """The encoding that a file's first bytes speak for: a byte order mark, or where zeros stand."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    num_zeros = sample.count(0)
    if num_zeros * 50 < len(sample) or not num_zeros:
        return "utf-8"
    by_place = [sample[place::4].count(0) for place in range(4)]
    quarter = len(sample) // 4
    if quarter and min(by_place[2:]) > 0.9 * quarter:
        return "utf-32-le"
    if quarter and min(by_place[:2]) > 0.9 * quarter:
        return "utf-32-be"
    even, odd = by_place[0] + by_place[2], by_place[1] + by_place[3]
    if even + odd > len(sample) // 4:  # ASCII text as UTF-16 has a zero in every second byte
        return "utf-16-le" if odd > even else "utf-16-be"
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    return encoding if max(even, odd) >= 4 * min(even, odd) and _reads_as(sample, encoding) else "utf-8"


def _reads_as(sample: bytes, encoding: str) -> bool:
    """Whether bytes that are no UTF-8 make a text in UTF-16: only characters that are given, and spaces or lines."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return False
    except UnicodeDecodeError:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(sample)
    strange = any(one == "\ufffd" or (unicodedata.category(one) in _STRANGE and one not in "\t\r\n") for one in text)
    return not strange and any(one in ' \n",' for one in text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
        return True
    except UnicodeEncodeError:
        return False


def _decoded(raw: bytes, number: int, repair: Repair) -> tuple[str, str | None]:
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError:
        return repair.text(raw, number)


def _utf8_lines(path: Path, notes: list[Finding]) -> Iterator[Line]:
    repair = repair_of(path, notes)
    number = 0
    rest = b""  # of what has been read, begins the next line
    try:
        with open_bytes(path) as file:
            while raw := file.readline(MAX_LINE_BYTES + 1) if not rest else _go_on(rest, file):
                if number == 0:
                    raw = raw.removeprefix(_BOM)
                if b"\r" not in raw and len(raw) <= MAX_LINE_BYTES:
                    number += 1
                    rest = b""
                    try:
                        yield Line(number, raw.decode("utf-8").rstrip("\n"))
                    except UnicodeDecodeError:
                        text, problem = repair.text(raw, number)
                        yield Line(number, text.rstrip("\n"), problem)
                    continue
                pieces, rest = _at_returns(raw, file)
                for piece in pieces:
                    number += 1
                    ended = piece.endswith(b"\n")
                    if len(piece) > MAX_LINE_BYTES + ended:
                        skipped, rest = (0, rest) if ended else _skip_line(file)
                        text, problem = piece[:200].decode("utf-8", "replace"), _too_long(len(piece) + skipped)
                    else:
                        text, problem = _decoded(piece, number, repair)
                    yield Line(number, text.rstrip("\r\n"), problem)
    finally:
        repair.tell()


def _go_on(rest: bytes, file: BinaryIO) -> bytes:
    """The line that begins with bytes that have been read already."""
    return rest if rest.endswith(b"\n") else rest + file.readline(MAX_LINE_BYTES + 1)


def _at_returns(raw: bytes, file: BinaryIO) -> tuple[list[bytes], bytes]:
    """Cut what was read up to a line feed (or the longest line) at carriage returns too; what is left begins a line."""
    if raw.endswith(b"\n"):
        body = raw.rstrip(b"\r\n")
        return ([piece + b"\n" for piece in body.split(b"\r")] if b"\r" in body else [raw]), b""
    if raw.endswith(b"\r") and len(raw) > MAX_LINE_BYTES:
        raw += file.read(1)  # a line feed, when the end was cut in two
        if raw.endswith(b"\n"):
            return _at_returns(raw, file)
    *whole, last = raw.split(b"\r")
    pieces = [piece + b"\n" for piece in whole]
    if len(raw) > MAX_LINE_BYTES >= len(last):  # the last line goes on
        return pieces, last
    return ([*pieces, last] if last else pieces), b""


def _decoded_lines(path: Path, encoding: str) -> Iterator[Line]:
    with (
        open_bytes(path) as file,
        io.TextIOWrapper(file, encoding=encoding, errors="tunewright.mark", newline="") as text,
    ):
        number = 0
        while line := text.readline(MAX_LINE_BYTES + 1):
            number += 1
            problem = None
            if len(line) > MAX_LINE_BYTES and not line.endswith(("\n", "\r")):
                length = len(line)
                while (rest := text.readline(2**20)) and not rest.endswith(("\n", "\r")):
                    length += len(rest)
                line, problem = line[:200], _too_long(length)
            elif NO_CHARACTER in line:
                line, problem = line.replace(NO_CHARACTER, "\ufffd"), no_character(encoding)
            yield Line(number, line.rstrip("\r\n").removeprefix("\ufeff" if number == 1 else ""), problem)


def no_character(encoding: str) -> str:
    """What is wrong with bytes that an encoding does not know."""
    return f"not {encoding.upper()}: some bytes are no characters"


def _skip_line(file: BinaryIO) -> tuple[int, bytes]:
    """Read to the end of a line; how many bytes, and what was read of the next one."""
    skipped = 0
    while block := file.readline(2**20):
        at = block.find(b"\r")
        if at >= 0:
            rest = block[at + 1 :] or file.read(1)
            return skipped + at, rest.removeprefix(b"\n")
        skipped += len(block)
        if block.endswith(b"\n"):
            break
    return skipped, b""


def _too_long(length: int) -> str:
    return f"too long: a line of {length / 2**20:.1f} MiB, the most is {MAX_LINE_BYTES // 2**20}"
