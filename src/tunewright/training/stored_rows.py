"""Encoded rows on the disk: written once, mapped into memory, read by number. Memory does not grow with the data."""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from tunewright.core import private, sealed, storage
from tunewright.core.example import Example
from tunewright.core.parts import Objective, Part
from tunewright.models.chat import Chat
from tunewright.models.forest import Row
from tunewright.training.encoding import BATCH_EXAMPLES, Encoded, Tally, rows_of

FLUSH_TOKENS = 2**20
KEPT_BYTES = 2**26  # of an encrypted file that stay decrypted: small data is decrypted once
# One entry a row; tokens, runs, name and targets say where its part of the file of that name ends.
ENTRY = np.dtype(
    [("tokens", "<i8"), ("runs", "<i8"), ("name", "<i8"), ("targets", "<i8"), ("slot", "<i4"), ("cut", "<i4")]
)
RUN = np.dtype([("length", "<i8"), ("weight", "<f8")])  # neighbouring tokens of one weight
FILES = {
    "tokens": np.dtype("<i4"),
    "runs": RUN,
    "names": np.dtype("u1"),
    "targets": np.dtype("<f8"),
    "entries": ENTRY,
}
INDEXES = ("units", "members", "examples")  # ends of units among members; row numbers by unit; ends of examples


def stored(
    folder: Path,
    data: Path,
    examples: Iterable[Example],
    objective: Objective,
    chat: Chat,
    *,
    max_tokens: int,
    poll: Callable[[int], None] = lambda done: None,
) -> StoredRows:
    """The encoded rows of a data file: those in the folder where they are whole and of the same making, else new ones.

    poll: called with the number of examples that are done. Raises DataError like `encode`, CheckpointError when the
    disk is full.
    """
    key = _key(data, objective, chat, max_tokens)
    if storage.damage(folder) is None and storage.read_json(folder / "manifest.json").get("key") == key:
        return StoredRows(folder)
    tally = Tally()
    with storage.new_folder(folder, point="rows", about={"key": key}) as fresh:
        writer = Writer(fresh)
        try:
            encoded = rows_of(examples, objective, chat, max_tokens=max_tokens, tally=tally)
            for number, (example, rows) in enumerate(encoded):
                if number % BATCH_EXAMPLES == 0:
                    poll(number)
                writer.add(rows)
                tally.add(example, [row for row in rows if row.num_learned > 0])
            tally.refuse(objective, max_tokens)
        finally:
            writer.close()
        writer.write_indexes()
        storage.write_json(fresh / "told.json", {"unlearned": tally.unlearned, "cut": tally.cut}, point="rows.told")
    return StoredRows(folder)


def _key(data: Path, objective: Objective, chat: Chat, max_tokens: int) -> str:
    """A hash of all that decides the rows: the file, the tokenizer and its template, the objective, and the code."""
    import jinja2
    import tokenizers
    import transformers

    classes = [*(one for one in type(objective).__mro__ if issubclass(one, Part)), Chat, Encoded, Writer]
    code = [storage.sha256(Path(inspect.getfile(one))) for one in classes]
    versions = [transformers.__version__, tokenizers.__version__, jinja2.__version__]
    asked = [objective.kind, objective.model_dump(), max_tokens]
    return storage.digest([storage.sha256(data), chat.digest, chat.tokenizer.special_tokens_map, asked, code, versions])


class Writer:
    """Appends rows to the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, BinaryIO] = {name: private.open_write(folder / f"{name}.bin") for name in FILES}
        self.ends = dict.fromkeys(FILES, 0)
        self.tokens, self.weights, self.names = array("i"), array("d"), bytearray()
        self.targets = array("d")
        self.facts: list[tuple[int, ...]] = []  # length, end of the name, end of the targets, slot, cut
        self.num_rows = 0
        self.examples = array("q")
        self.members, self.units = array("q"), array("q")  # rows with learned tokens; where a unit begins among them
        self.unit_keys = array("q")
        self.last: str | None = None

    def add(self, rows: Sequence[Row]) -> None:
        """Append the rows of one example."""
        for row in rows:
            assert row.items and not row.adapter, "an objective's rows have tokens, and belong to no adapter"
            self.tokens.extend(row.items)
            self.weights.extend(row.weights)
            self.names += row.example.encode()
            self.targets.extend(row.target)
            self.facts.append((len(row.items), len(self.names), len(self.targets), row.slot, row.cut))
            if row.num_learned > 0:
                if row.example != self.last:
                    self.last = row.example
                    self.units.append(len(self.members))
                    self.unit_keys.append(hash(row.example))
                self.members.append(self.num_rows)
            self.num_rows += 1
        self.examples.append(self.num_rows)
        if len(self.tokens) >= FLUSH_TOKENS:
            self._flush()

    def close(self) -> None:
        """Write what is left and close the files."""
        try:
            if self.facts:
                self._flush()
        finally:
            for file in self.files.values():
                file.close()

    def write_indexes(self) -> None:
        """Write which rows make up a unit, and an example."""
        members, begins = np.asarray(self.members), np.asarray(self.units)
        ends = np.append(begins[1:], len(members))
        keys = np.sort(np.asarray(self.unit_keys))
        if (keys[1:] == keys[:-1]).any():
            members, ends = self._joined(members)
        for name, values in zip(INDEXES, (ends, members, np.asarray(self.examples)), strict=True):
            with private.open_write(self.folder / f"{name}.bin") as file:
                file.write(values.astype("<i8").tobytes())

    def _joined(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows that stand apart but have one id are one unit, where the first of them is."""
        rows = _Rows(self.folder)
        first: dict[str, int] = {}
        unit = np.array([first.setdefault(rows.row(int(number)).example, len(first)) for number in members])
        return members[np.argsort(unit, kind="stable")], np.cumsum(np.bincount(unit))

    def _flush(self) -> None:
        facts = np.array(self.facts, np.int64)
        weights = np.asarray(self.weights)
        ends = np.cumsum(facts[:, 0])
        begins = np.ones(len(weights), bool)
        begins[1:] = weights[1:] != weights[:-1]
        begins[ends[:-1]] = True
        at = np.flatnonzero(begins)
        runs = np.empty(len(at), RUN)
        runs["length"], runs["weight"] = np.diff(np.append(at, len(weights))), weights[at]
        entries = np.empty(len(facts), ENTRY)
        entries["tokens"] = ends + self.ends["tokens"]
        entries["runs"] = np.searchsorted(at, ends) + self.ends["runs"]
        entries["name"] = facts[:, 1] + self.ends["names"]
        entries["targets"] = facts[:, 2] + self.ends["targets"]
        entries["slot"], entries["cut"] = facts[:, 3], facts[:, 4]
        names = np.frombuffer(bytes(self.names), np.uint8)
        targets = np.asarray(self.targets)
        parts = {"tokens": np.asarray(self.tokens), "runs": runs, "names": names, "targets": targets}
        parts["entries"] = entries
        for name, values in parts.items():
            self.files[name].write(values.astype(FILES[name]).tobytes())
            self.ends[name] += len(values)
        self.tokens, self.weights, self.names, self.facts = array("i"), array("d"), bytearray(), []
        self.targets = array("d")


class _Rows:
    """The rows of a folder that a Writer filled, by number."""

    def __init__(self, folder: Path) -> None:
        self.tokens, self.runs, self.names, self.targets, self.entries = (
            _mapped(folder / f"{name}.bin", dtype) for name, dtype in FILES.items()
        )

    def row(self, number: int) -> Row:
        """The row with this number."""
        tokens, runs, name, targets, slot, cut = self.entries[number].item()
        at = self.entries[number - 1].item()[:4] if number else (0, 0, 0, 0)
        weights: list[float] = []
        for length, weight in self.runs[at[1] : runs].tolist():
            weights += [weight] * length
        example = self.names[at[2] : name].tobytes().decode()
        target = tuple(self.targets[at[3] : targets].tolist())
        return Row(self.tokens[at[0] : tokens].tolist(), weights, example, slot=slot, cut=bool(cut), target=target)


class StoredRows(Sequence[list[Row]]):
    """The units of a split, made of stored rows when asked for. unlearned, cut: as in Encoded."""

    def __init__(self, folder: Path) -> None:
        self.rows = _Rows(folder)
        self.units, self.members, self.example_ends = (
            _mapped(folder / f"{name}.bin", np.dtype("<i8")) for name in INDEXES
        )
        told = storage.read_json(folder / "told.json")
        self.unlearned: list[str] = told["unlearned"]
        self.cut: list[str] = told["cut"]

    def __len__(self) -> int:
        return len(self.units)

    @overload
    def __getitem__(self, index: int) -> list[Row]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[Row]]: ...

    def __getitem__(self, index: int | slice) -> list[Row] | list[list[Row]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        first = self.units[number - 1] if number else 0
        return [self.rows.row(int(member)) for member in self.members[first : self.units[number]]]

    def by_example(self) -> Iterator[list[Row]]:
        """All rows of each example, also those without a learned token."""
        first = 0
        for end in self.example_ends:
            yield [self.rows.row(number) for number in range(first, int(end))]
            first = int(end)


class Decrypted(Sequence[Any]):
    """An array in an encrypted file: places are decrypted as they are read, and the latest of them kept."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.file, self.dtype = private.open_read(path, kept=KEPT_BYTES // sealed.BLOCK), dtype
        self.length = private.size_of(path) // dtype.itemsize

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | slice) -> Any:
        numbers = range(self.length)[index]
        first, count = (numbers.start, len(numbers)) if isinstance(numbers, range) else (numbers, 1)
        content = private.read_at(self.file, first * self.dtype.itemsize, count * self.dtype.itemsize)
        found = np.frombuffer(content, self.dtype)
        return found if isinstance(numbers, range) else found[0]


def _mapped(path: Path, dtype: np.dtype) -> Any:
    if sealed.is_sealed(path):  # nothing of it may lie on a disk in plain
        return Decrypted(path, dtype)
    # a file of no bytes cannot be mapped; a view of the plain type is read faster than numpy's memmap
    return np.asarray(np.memmap(path, dtype, "r")) if path.stat().st_size else np.empty(0, dtype)
