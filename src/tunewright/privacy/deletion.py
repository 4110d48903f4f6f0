"""Deletion: whose rows are meant, and how their texts are found and struck out elsewhere. Knows plain values only."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tunewright.core.errors import DataError

Place = tuple[str, int]  # a source file and a line
GONE = "(forgotten)"
TOMBSTONE = "forgotten:"
SHORTEST = 4  # characters that can tell anything about a person
MOST_SHORT = 1000  # short texts that are looked for inside longer ones
_WINDOW, _STRIDE = 16, 8  # any 23 characters of a deleted text, and any 16 of its beginning, hold a known window
_NAMED = re.compile(r"[\w.-]+:\d+")  # ids of rows: a file's stem and a line
_WORD = re.compile(r"[a-z][a-z0-9_]*")  # keys of ours
_SCHEMA = {"stage", "run", "severity", "name", "verdict", "event", "state", "role", "finish", "key", "kind", "inputs"}
_OWN_COLUMNS = ("label", "text", "question", "expected")


@dataclass(frozen=True)
class Asked:
    """Whose rows are to go: those with a value in a column, with these ids, or that contain a text anywhere."""

    where: tuple[str, str] | None = None
    ids: frozenset[str] = frozenset()
    contains: str | None = None

    @classmethod
    def parse(cls, where: str | None, ids: Iterable[str], contains: str | None) -> Asked:
        """What a user asked for. Raises DataError unless it is exactly one thing."""
        column, sign, value = (where or "").partition("=")
        if where is not None and not (sign and column.strip() and value.strip()):
            raise DataError(f"--where takes COLUMN=VALUE, found '{where}'. Give for instance --where customer=c-1017")
        if contains is not None and len(contains.strip()) < SHORTEST:
            raise DataError(
                f"--contains '{contains}' is too short: it would take rows of many people. Give at least {SHORTEST} "
                "characters."
            )
        asked = cls((column.strip(), value.strip()) if where else None, frozenset(ids), contains)
        if (asked.where is not None) + bool(asked.ids) + (contains is not None) != 1:
            raise DataError("Say whose rows to forget in one way: --where COLUMN=VALUE, --id ID, or --contains TEXT.")
        return asked

    @property
    def text(self) -> str:
        """The same for the same question, to be digested."""
        return json.dumps([self.where, sorted(self.ids), folded(self.contains or "")], ensure_ascii=False)

    @property
    def value(self) -> str | None:
        """The text that tells the person, where one was given."""
        return self.contains if self.contains is not None else self.where[1] if self.where else None

    def has_column(self, row: dict[str, Any]) -> bool:
        """Whether a prepared row has the column that is asked for."""
        assert self.where is not None
        return self.where[0] in (row.get("meta") or {}) or (self.where[0] in _OWN_COLUMNS and self.where[0] in row)

    def matches(self, row: dict[str, Any]) -> bool:
        """A prepared row: its columns stand in `meta`. Ids are the caller's to compare."""
        if self.where is not None:
            meta = row.get("meta") or {}
            inner = meta.get("meta")  # of a row that was prepared once before
            own = {key: row[key] for key in _OWN_COLUMNS if key in row}
            return any(map(self._has_value, (own, meta, inner if isinstance(inner, dict) else {})))
        return self.contains is not None and self._holds(value for key, value in row.items() if key != "id")

    def matches_values(self, values: dict[str, Any]) -> bool:
        """A row as its source gives it."""
        return self._has_value(values) if self.where is not None else self._holds([values])

    def matches_raw(self, raw: str) -> bool:
        """The beginning of a row that could not be used."""
        for read in (json.loads, ast.literal_eval):
            try:
                values = read(raw)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(values, dict):
                return self.matches_values(values)
        value = self.value
        return value is not None and len(value) >= SHORTEST and folded(value) in folded(raw)

    def in_text(self, text: str) -> bool:
        """Whether a text holds what was asked to be found anywhere."""
        return self.contains is not None and self._folded in folded(text)

    @cached_property
    def _folded(self) -> str:
        return folded(self.contains or "")

    def _has_value(self, values: dict[str, Any]) -> bool:
        if self.where is None or self.where[0] not in values:
            return False
        found = values[self.where[0]]
        return any(_plain(one) == self.where[1] for one in (found if isinstance(found, list) else [found]))

    def _holds(self, values: Iterable[Any]) -> bool:
        # joined by what is in no text: one look at a row, not one at each of its texts
        return self.contains is not None and self.in_text("\x00".join(text for one in values for text in leaves(one)))


def folded(text: str) -> str:
    """A text without differences of case, width and white space."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def leaves(value: Any) -> Iterator[str]:
    """Every text in plain values, keys and numbers too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def media_of(row: dict[str, Any]) -> Iterator[str]:
    """Where the images, films and sounds of a prepared row are."""
    for message in (*row.get("messages", []), *row.get("rejected", [])):
        yield from (str(part["path"]) for part in message.get("media") or [])


def ids_in(text: str) -> list[str]:
    """What a text has that looks like the id of a row: a file's stem and a line."""
    return _NAMED.findall(text)


def texts_of(row: dict[str, Any]) -> Iterator[str]:
    """What a prepared row says: its texts without the words of our schema."""
    for key, value in row.items():
        if key in ("messages", "rejected"):
            for message in value:
                yield from (str(message.get("content", "")), *leaves(message.get("tool_calls") or []))
                yield from (str(part["path"]) for part in message.get("media") or [])
        elif key == "meta":
            for inner in value.values():
                yield from leaves(inner)
        elif key not in ("id", "spans", "num_answer_messages"):
            yield from leaves(value)


@dataclass
class Traces:
    """The texts of deleted rows, to be recognised in reports and answers, whole or in part.

    A text that a row that stays also has tells nothing of the person and is left: `keep` is shown those rows.
    """

    asked: Asked
    texts: set[str] = field(default_factory=set)
    safe: set[str] = field(default_factory=set)
    _windows: set[str] = field(default_factory=set)
    _short: re.Pattern[str] | None = None

    def add(self, row: dict[str, Any]) -> None:
        """A row that goes."""
        self.texts.update(text for text in texts_of(row) if len(text.strip()) >= SHORTEST)

    def finish(self) -> None:
        """All rows have been added."""
        if self.asked.where is not None and len(self.asked.where[1]) >= SHORTEST:
            self.texts.add(self.asked.where[1])
        for text in self.texts:
            starts = range(0, max(len(text) - _WINDOW + 1, 0), _STRIDE)
            self._windows.update(text[start : start + _WINDOW] for start in starts)
        short = sorted((text.strip() for text in self.texts if len(text) < _WINDOW), key=len, reverse=True)
        if short:
            alternatives = "|".join(map(re.escape, short[:MOST_SHORT]))
            self._short = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")

    def regions(self, text: str) -> set[str]:
        """The parts of a text that a deleted row has too."""
        found = set(self._short.findall(text)) if self._short is not None else set()
        begin = end = -1
        for place in range(len(text) - _WINDOW + 1) if self._windows else ():
            if text[place : place + _WINDOW] not in self._windows:
                continue
            if place > end:
                if begin >= 0:
                    found.add(text[begin:end])
                begin = place
            end = place + _WINDOW
        if begin >= 0:
            found.add(text[begin:end])
        return found

    def keep(self, said: str, candidates: set[str]) -> None:
        """What a row that stays says: what it has of the candidates is safe."""
        known = {text for text in candidates if text in said}
        self.safe |= known
        candidates -= known

    def tells(self, text: str) -> bool:
        """Whether a text says something that only deleted rows said."""
        return self.asked.in_text(text) or bool(self.regions(text) - self.safe)


def struck(value: Any, traces: Traces, tombstones: Mapping[str, str], places: AbstractSet[Place] = frozenset()) -> Any:
    """Plain values with every telling text struck out and every id of a deleted row replaced by its tombstone; what
    only points to one of the places goes.

    The words by which our own files are read stay: their keys, and the values of such as `stage`.
    """

    def inside(inner: Any) -> Any:
        return struck(inner, traces, tombstones, places)

    if isinstance(value, str):
        if traces.tells(value):
            return GONE
        return _NAMED.sub(lambda found: tombstones.get(found[0], found[0]), value) if tombstones else value
    if isinstance(value, dict):
        return {
            key if _WORD.fullmatch(key) else inside(key): (
                inner if key in _SCHEMA and isinstance(inner, str) else inside(inner)
            )
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [inside(inner) for inner in value if not (isinstance(inner, dict) and place_of(inner) in places)]
    return value


def place_of(value: dict[str, Any]) -> Place | None:
    """The source and line that a value points to."""
    source, line = value.get("source"), value.get("line")
    return (source, line) if isinstance(source, str) and isinstance(line, int) else None


def places_in(value: Any) -> Iterator[Place]:
    """Every source and line that plain values point to."""
    if isinstance(value, dict):
        place = place_of(value)
        if place is not None:
            yield place
        for inner in value.values():
            yield from places_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from places_in(inner)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
