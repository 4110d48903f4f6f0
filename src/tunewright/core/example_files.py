"""Examples of JSONL files, read when they are asked for: eight bytes of memory a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

from tunewright.core import private
from tunewright.core.example import Example

_CHUNK_BYTES = 2**24
_AT_ONCE = 256  # rows read together where all are asked for in order


class ExampleFiles(Sequence[Example]):
    """The examples of some files in order, as they were when opened. A torn last line is left out."""

    def __init__(self, *paths: Path) -> None:
        self._files = [Lines(private.open_read(path)) for path in paths]
        self._length = sum(len(file) for file in self._files)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._length))]
        number = range(self._length)[index]
        for file in self._files:
            if number < len(file):
                return example_of(file.read(number, number + 1))
            number -= len(file)
        raise IndexError(index)

    def __iter__(self) -> Iterator[Example]:
        for file in self._files:
            for start in range(0, len(file), _AT_ONCE):
                for line in file.read(start, min(start + _AT_ONCE, len(file))).split(b"\n")[:-1]:
                    yield example_of(line)


class Lines:
    """Where the lines of a file begin, so that any of them can be read: eight bytes of memory a line."""

    def __init__(self, file: BinaryIO) -> None:
        import numpy as np

        self.file = file
        begins, at = [np.zeros(1, np.int64)], 0
        while chunk := file.read(_CHUNK_BYTES):
            begins.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + (at + 1))
            at += len(chunk)
        self.begins = np.concatenate(begins)

    def __len__(self) -> int:
        return len(self.begins) - 1

    def read(self, start: int, stop: int) -> bytes:
        """The bytes of the lines from start to stop."""
        first = int(self.begins[start])
        return private.read_at(self.file, first, int(self.begins[stop]) - first)


def example_of(line: bytes) -> Example:
    """The example of a line of data/*.jsonl."""
    try:
        return Example.model_validate_json(line)
    except ValueError:  # that reader follows fewer levels of nesting than the one that wrote the line
        return Example.model_validate(json.loads(line))
