"""Rows on their way from the sources to the sides: each as its final line in a file, with a few numbers beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.core import private
from tunewright.core.example import Example
from tunewright.core.example_files import Lines, example_of
from tunewright.core.recipe import Split
from tunewright.data import clean, moments, near, split

MOST_LABELS = 100_000  # with more different ones, labels are no classes and are not counted one by one
_AT_ONCE = 4096  # rows written or read together
_AT_ONCE_CHARACTERS = 2**24
_TRAIN = split.SIDES.index("train")
# What is kept of a row besides its line. The file of these records is read back a column at a time.
RECORD = np.dtype([
    ("twin", "V16"),  # digest of what it asks, normalised
    ("exact", "V16"),  # digest of its unit, what it asks and what it answers, to the letter
    ("system", "<u8"),  # digest of its system message; 0: none
    ("prompt", "<i8"),  # characters
    ("answer", "<i8"),  # characters; -1: no answer
    ("turns", "<i4"),  # answers of the assistant; -1: no conversation
    ("label", "<i4"),  # number in `labels`; -1: none; MOST_LABELS: one too many
    ("entities", "<i4"),  # number in `entities`
    ("meta", "<i4"),  # number in `columns`
    ("side", "i1"),  # number in SIDES of the unit's own side; -1: of a file that was given for a side
    ("grouped", "?"),  # has a value in the group's column
    ("source", "<i4"),  # number in `sources`
    ("line", "<i8"),
    ("time", "<f8"),  # of the column that splits by time; NaN: none
])  # fmt: skip


class Spool:
    """Takes examples in, numbered from 0, and gives them back by number. Memory: 8 bytes a row, and what is distinct in
    labels, types of entities and names of columns.
    """

    def __init__(self, folder: Path, shares: Split, *, has_test: bool = False, has_validation: bool = False) -> None:
        self.shares = shares
        self.has_test, self.has_validation = has_test, has_validation
        self.labels: dict[str, int] = {}
        self.entities: dict[tuple[str, ...], int] = {}  # the types of a row's entities, as often as it has them
        self.columns: dict[tuple[str, ...], int] = {}
        self.sources: dict[str, int] = {}  # beginnings of ids
        self.signatures = near.Signatures(folder)
        self._rare = split.Rare()
        self._lines = private.open_scratch(folder / "rows.jsonl")
        self._records = private.open_scratch(folder / "rows.bin")
        self._waiting: list[str] = []
        self._texts: list[str] = []
        self._facts: list[tuple[Any, ...]] = []
        self._size = self._flushed = 0
        self._index: Lines | None = None
        self._encode = json.JSONEncoder(ensure_ascii=False).encode

    def __len__(self) -> int:
        return self._flushed + len(self._facts)

    def add(self, example: Example, *, given: bool = False) -> None:
        """Append a row; `given`: it belongs to a file that is a side by itself."""
        line = self._encode(example.to_row()) + "\n"
        asked, answered = clean.prompt_text(example), clean.answer_text(example)
        twin = clean.twin_key(example)
        unit = split.unit(example, twin, self.shares.group)
        side = -1 if given else self._side(unit)
        if not given and self._rare.first(example.label) and unit is twin and self.shares.train:
            side = _TRAIN
        system, turns, answer = _conversation(example)
        columns = self.columns.setdefault(tuple(example.meta), len(self.columns))
        self._facts.append((
            digest(twin), digest(f"{len(unit)} {len(asked)} {unit}{asked}{answered}"), system, len(asked), answer,
            turns, self._label(example.label), self._entities(example), columns, side, unit is not twin,
            *self._place(example.id), self._time(example),
        ))  # fmt: skip
        self._texts.append(near.text_of(example))
        self._waiting.append(line)
        self._size += len(line)
        if len(self._waiting) == _AT_ONCE or self._size > _AT_ONCE_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """No more is added; rows and columns can be read from now on."""
        self._flush()
        self._lines.flush()
        self._records.flush()
        self._lines.seek(0)
        self._index = Lines(self._lines)

    def column(self, name: str) -> np.ndarray:
        """One number of each row."""
        found = np.empty(self._flushed, RECORD[name])
        self._records.seek(0)
        for start in range(0, self._flushed, _AT_ONCE):
            block = np.frombuffer(self._records.read(_AT_ONCE * RECORD.itemsize), RECORD)
            found[start : start + len(block)] = block[name]
        return found

    def records(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers of some rows, without reading those of the others."""
        size = RECORD.itemsize
        held = (private.read_at(self._records, number * size, size) for number in numbers.tolist())
        return np.frombuffer(b"".join(held), RECORD)

    def columns_of(self, rows: np.ndarray) -> list[str]:
        """The names of all unused columns that these rows have."""
        shapes = list(self.columns)
        return sorted({name for number in np.unique(self.column("meta")[rows]) for name in shapes[number]})

    def lines(self, numbers: np.ndarray, poll: Callable[[int], None] = lambda done: None) -> Iterator[list[bytes]]:
        """The lines of rows, in ascending order of their numbers, some thousand at a time; poll: called with how many
        were given.
        """
        assert self._index is not None, "rows are read when all are there"
        begins = self._index.begins
        at = 0
        while at < len(numbers):
            poll(at)
            first = int(numbers[at])
            near = min(np.searchsorted(begins, begins[first] + _AT_ONCE_CHARACTERS), first + _AT_ONCE)
            stop = max(at + 1, int(np.searchsorted(numbers, near)))
            wanted = numbers[at:stop]
            content = self._index.read(first, int(wanted[-1]) + 1)
            starts, ends = begins[wanted] - begins[first], begins[wanted + 1] - begins[first]
            yield [content[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
            at = stop

    def examples(self, numbers: np.ndarray, poll: Callable[[int], None] = lambda done: None) -> Iterator[Example]:
        """Examples, in ascending order of their numbers; poll: as in `lines`."""
        for block in self.lines(numbers, poll):
            yield from map(example_of, block)

    def __getitem__(self, number: int) -> Example:
        assert self._index is not None, "rows are read when all are there"
        return example_of(self._index.read(int(number), int(number) + 1))

    def _side(self, unit: str) -> int:
        where = split.side(unit, self.shares, has_test=self.has_test, has_validation=self.has_validation)
        return split.SIDES.index(where)

    def _label(self, label: str | None) -> int:
        if label is None:
            return -1
        number = self.labels.get(label)
        if number is None:
            number = len(self.labels)
            if number < MOST_LABELS:
                self.labels[label] = number
        return number

    def _entities(self, example: Example) -> int:
        kinds = tuple(sorted(span.label for span in example.spans or ()))
        return self.entities.setdefault(kinds, len(self.entities))

    def _place(self, id: str) -> tuple[int, int]:
        name, _, line = id.rpartition(":")
        return self.sources.setdefault(name, len(self.sources)), int(line)

    def _time(self, example: Example) -> float:
        value = example.meta.get(self.shares.time) if self.shares.time else None
        return moments.seconds(value)

    def _flush(self) -> None:
        self.signatures.add(self._texts)
        self._texts = []
        self._lines.write("".join(self._waiting).encode("utf-8"))
        self._records.write(np.array(self._facts, RECORD).tobytes())
        self._flushed += len(self._facts)
        self._waiting, self._facts, self._size = [], [], 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._records.close()
        self.signatures.close()


def classes(*keys: np.ndarray) -> np.ndarray:
    """The number of each row's class: rows whose keys are all equal. Classes are numbered as they first appear."""
    columns = [column for key in reversed(keys) for column in _sortable(key)]
    order = np.lexsort(columns)
    fresh = np.zeros(len(order), bool)
    fresh[:1] = True
    for column in columns:
        ordered = column[order]
        fresh[1:] |= ordered[1:] != ordered[:-1]
    firsts = order[fresh]  # the sort is stable, so this is the first row of each class
    number = np.empty(len(firsts), np.int32)
    number[np.argsort(firsts)] = np.arange(len(firsts), dtype=np.int32)
    found = np.empty(len(order), np.int32)
    found[order] = number[np.cumsum(fresh) - 1]
    return found


def firsts(classes: np.ndarray) -> np.ndarray:
    """Where each class appears first, in ascending order."""
    return np.sort(np.unique(classes, return_index=True)[1])


def _sortable(key: np.ndarray) -> list[np.ndarray]:
    return list(key.view("<u8").reshape(-1, 2).T) if key.dtype == "V16" else [key]


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()


def _conversation(example: Example) -> tuple[int, int, int]:
    """Digest of the system message, number of the assistant's turns, characters of the answer."""
    answer = example.answer
    length = -1 if answer is None else len(answer)
    if not example.messages:
        return 0, -1, length
    first = example.messages[0]
    system = digest(first.content)[:8] if first.role in ("system", "developer") else b""
    turns = sum(message.role == "assistant" for message in example.messages)
    return int.from_bytes(system, "little"), turns, length
