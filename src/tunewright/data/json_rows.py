"""Rows of JSON documents in flat memory: arrays, arrays inside an object, objects one behind the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.data.encoding import (
    MAX_LINE_BYTES,
    NO_CHARACTER,
    encoding_of,
    no_character,
    note_broken,
    repair_of,
    text_blocks,
)
from tunewright.data.packing import BROKEN_FILE, open_bytes
from tunewright.data.rows import RawRow, bad_row, judged, object_of, scan

_BETWEEN = frozenset(" \t\r\n\v\f\x85\xa0\u2028\u2029,\ufeff")  # values
_ESCAPED = re.compile("[\udc80-\udcff]")
_FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.)*")\s*:')
_LARGE = 2**20  # characters
_NEAR_END = 16  # characters: an error so near the end of what has been read may be of what has not
# Lists of objects that belong to one row; a list under any other name may be a list of rows.
_OF_A_ROW = {"tools", "functions", "spans", "entities", "tool_calls", "images", "audios", "videos", "ranking"}
_OF_A_MESSAGE = {"role", "from"}


def read_json(path: Path, notes: list[Finding]) -> Iterator[RawRow]:
    """A JSON array of objects, an object that holds one such array under any key, or objects one behind the other.

    A row's line is its number. Raises DataError when an object holds several arrays of objects.
    """
    key = _wrapped_under(path)
    if key is None:
        yield from _Document(path, notes).rows()
    else:
        yield from _Document(path, notes).rows_under(key)


@dataclass
class _Array:
    """An array of objects inside an object."""

    key: str
    num_rows: int


class _Broken(Exception):
    """The document stops being JSON here."""


@dataclass
class _Text:
    """The text of a document, of which a window is held."""

    path: Path
    window: str = ""
    at: int = 0
    odd: bool = False
    ended: bool = False
    _blocks: Iterator[Any] = field(default_factory=lambda: iter(()))

    def __post_init__(self) -> None:
        self._blocks = text_blocks(self.path)

    def more(self) -> bool:
        """Read on, at least as much as is held; False at the end. What has been passed is let go."""
        if self.ended:
            return False
        kept = self.window[self.at :]
        parts, length = [kept], 0
        while length <= len(kept):
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
                break
            self.odd |= block.odd
            parts.append(block.text)
            length += len(block.text)
        self.window, self.at = "".join(parts), 0
        return True

    def next_character(self) -> str:
        """The next character behind white space and commas; empty at the end."""
        while True:
            window, at = self.window, self.at
            while at < len(window):
                character = window[at]
                if character not in _BETWEEN:
                    self.at = at
                    return character
                at += 1
            self.at = at
            if not self.more():
                return ""

    def value(self, most: int = MAX_LINE_BYTES) -> tuple[Any, str]:
        """The value that begins here, and its text. Raises _Broken when there is none, or none of `most` characters."""
        while True:
            begin = self.at
            try:
                value, end = scan(self.window, begin)
            except (json.JSONDecodeError, StopIteration) as stopped:
                message, place = _reason(stopped)
                cut = message.startswith("Unterminated") or place >= len(self.window) - _NEAR_END
                if cut and len(self.window) - begin <= most and self.more():
                    continue
                if cut and not self.ended:
                    raise _Broken(f"too long: more than {most // 2**20} MiB without an end") from None
                nul = self.window[place : place + 1] == "\x00"
                raise _Broken("a NUL character" if nul else f"not JSON: {message}") from None
            except (ValueError, RecursionError) as error:
                raise _Broken(f"not JSON: {error}") from None
            if end == len(self.window) and self.more():  # a number may go on
                continue
            self.at = end
            return value, self.window[begin:end]

    def skip_to(self, start: re.Pattern[str]) -> bool:
        """Go to the next place behind this one where the pattern begins; False when there is none."""
        self.at += 1
        while True:
            found = start.search(self.window, self.at)
            if found is not None:
                self.at = found.start()
                return True
            self.at = max(self.at, len(self.window) - 4096)  # the pattern may have been cut in two
            if not self.more():
                return False

    def pass_all(self) -> None:
        """Go to the end."""
        self.at = len(self.window)
        while self.more():
            self.at = len(self.window)


def _reason(stopped: json.JSONDecodeError | StopIteration) -> tuple[str, int]:
    """What was wrong, and where. The error itself is let go: it holds the whole window."""
    return (
        (stopped.msg, stopped.pos) if isinstance(stopped, json.JSONDecodeError) else ("Expecting value", stopped.value)
    )


def _beginning(first: re.Match[str]) -> re.Pattern[str]:
    """How objects begin whose first key is this one."""
    return re.compile(r"\{\s*" + re.escape(first[1]) + r"\s*:")


class _Document:
    """One pass over a document."""

    def __init__(self, path: Path, notes: list[Finding]) -> None:
        self.path = path
        self.file = str(path)
        self.notes = notes
        self.text = _Text(path)
        self.repair = repair_of(path, notes)
        self.number = 0
        self.start: re.Pattern[str] | None = None  # how a row begins: its first key
        self.encoding = ""
        self.lost = False  # what follows a broken row

    def rows(self) -> Iterator[RawRow]:
        """Of every array and object at the top."""
        yield from self._told(self._rows_at_top())

    def rows_under(self, key: str) -> Iterator[RawRow]:
        """Of the array under this key of the one object."""
        yield from self._told(self._rows_under(key))

    def _told(self, rows: Iterator[RawRow]) -> Iterator[RawRow]:
        try:
            yield from rows
        except BROKEN_FILE as error:
            note_broken(self.path, f"row {self.number}", error, self.notes)
            yield bad_row(self.file, self.number + 1, f"the file breaks off: {error}", "")
        finally:
            self.repair.tell()

    def _rows_at_top(self) -> Iterator[RawRow]:
        text = self.text
        while (character := text.next_character()) != "":
            if character == "[":
                text.at += 1
                yield from self._elements()
            else:
                yield from self._row()

    def _rows_under(self, wanted: str) -> Iterator[RawRow]:
        for key in _keys(self.text):
            if key == wanted:
                self.text.at += 1
                yield from self._elements()
                return
            self.text.value()

    def _elements(self) -> Iterator[RawRow]:
        """Of an array that has begun, to its end."""
        while (character := self.text.next_character()) != "]":
            if character == "" and self.lost:
                return
            if character == "":
                reason = "the array does not end"
                note_broken(self.path, f"row {self.number}", ValueError(reason), self.notes)
                yield bad_row(self.file, self.number + 1, f"the file breaks off: {reason}", "")
                return
            yield from self._row()
        self.text.at += 1

    def _row(self) -> Iterator[RawRow]:
        """The row that begins here; behind one that is broken, reading goes on where one begins as the first did."""
        text = self.text
        self.number += 1
        try:
            value, source = text.value()
        except _Broken as broken:
            begins = text.window[text.at : text.at + 500]
            yield bad_row(self.file, self.number, str(broken), begins)
            self._go_on(str(broken))
            return
        if self.start is None and (first := _FIRST_KEY.match(source)) is not None:
            self.start = _beginning(first)
        yield self._judged(value, source)

    def _go_on(self, reason: str) -> None:
        """Behind a broken row, go to where the next begins; else to the end."""
        text = self.text
        if self.start is None and (first := _FIRST_KEY.match(text.window, text.at)) is not None:
            self.start = _beginning(first)
        if self.start is not None and text.skip_to(self.start):
            return
        note_broken(self.path, f"row {self.number - 1}", ValueError(reason), self.notes)
        self.lost = True
        text.pass_all()

    def _judged(self, value: Any, source: str) -> RawRow:
        problem: str | None = None
        if self.text.odd and NO_CHARACTER in source:
            problem = no_character(self.encoding or self._find_encoding())
        elif self.text.odd and _ESCAPED.search(source):
            source, problem = self.repair.text(source.encode("utf-8", "surrogateescape"), self.number)
            if problem is None:
                value, problem = object_of(source)
        else:
            value, problem = judged(value, source)
        if problem is None:
            return RawRow(self.file, self.number, value)
        return bad_row(self.file, self.number, problem, source)

    def _find_encoding(self) -> str:
        with open_bytes(self.path) as file:
            self.encoding = encoding_of(file.read(4096))
        return self.encoding


def _keys(text: _Text) -> Iterator[str]:
    """The keys of the object that begins here; before the next is asked for, its value has to be passed."""
    text.next_character()
    text.at += 1
    while text.next_character() == '"':
        key, _ = text.value()
        if text.next_character() != ":":
            return
        text.at += 1
        if not text.next_character():
            return
        yield key


def _wrapped_under(path: Path) -> str | None:
    """The key of the array of rows, when the document is one object that holds such; None when it holds rows itself.

    Raises DataError when there are several such arrays.
    """
    text = _Text(path)
    arrays: list[_Array] = []
    try:
        if text.next_character() != "{":
            return None
        if _is_followed(path):
            return None
        for key in _keys(text):
            if text.window[text.at] == "[":
                _pass_array(key, text, arrays)
            else:
                text.value()
    except (_Broken, *BROKEN_FILE):
        pass  # reading tells where
    if len(arrays) > 1:
        told = ", ".join(f"'{array.key}' ({array.num_rows:,})" for array in arrays)
        raise DataError(
            f"{path} holds several lists of rows: {told}. Save the one you want to use as a file of its own, or "
            "each as one and name them in data.sources, data.test and data.validation."
        )
    return arrays[0].key if arrays else None


def _is_followed(path: Path) -> bool:
    """Whether another object follows the first one; one that is large holds rows."""
    text = _Text(path)
    text.next_character()
    try:
        text.value(_LARGE)
    except _Broken:
        return False
    return text.next_character() != ""


def _pass_array(key: str, text: _Text, arrays: list[_Array]) -> None:
    """Go behind an array; it is added when it holds rows, rather than the messages or tools of one."""
    text.at += 1
    array = _Array(key, 0)
    if key not in _OF_A_ROW and text.next_character() == "{":
        arrays.append(array)
    while text.next_character() not in ("]", ""):
        element, _ = text.value()
        if array in arrays and not array.num_rows and isinstance(element, dict) and _OF_A_MESSAGE & element.keys():
            arrays.remove(array)
        array.num_rows += 1
    text.at += 1
