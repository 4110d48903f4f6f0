"""Lineage: what a set of rows is (a hash of its content), what it was made from, and what was done to get there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tunewright.core import storage
from tunewright.core.example_files import example_of
from tunewright.data.sources import HUB
from tunewright.data.split import SIDES

FILE = "version.json"  # in a data folder; beside a single file: <name>.version.json
SHOWN = 12  # hex digits that stand for a version
_ID = re.compile(rb'^\{"id": "(?:[^"\\]|\\.)*"(?:, )?')  # how storage and prepare begin each row


class Parent(BaseModel):
    """What rows came from: a file with its SHA-256, a Hub data set with its revision; version: where one is known."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str | None = None
    revision: str | None = None
    version: str | None = None


class Step(BaseModel):
    """Something done to rows, with counts before and after; about: its options, and the like."""

    model_config = ConfigDict(frozen=True)

    what: str
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    about: dict[str, Any] = {}


class Version(BaseModel):
    """A set of rows at one time. content: SHA-256 of the rows by side in their order, without ids, paths and dates."""

    model_config = ConfigDict(frozen=True)

    content: str
    created: str
    rows: dict[str, int]
    parents: list[Parent] = []
    steps: list[Step] = []

    @property
    def id(self) -> str:
        """How it is named: the first digits of its content's hash."""
        return self.content[:SHOWN]


def record(target: Path, *, sources: Mapping[str, str] | Iterable[Path], steps: Sequence[Step]) -> Version:
    """Write what a data folder (its three sides) or a file of rows is, and return it.

    sources: what the rows were read from, as names with their SHA-256, or paths to be hashed. A source that has a
    version of its own is linked to it.
    """
    known = dict(sources) if isinstance(sources, Mapping) else {str(path): storage.sha256(path) for path in sources}
    content, rows = content_of(target)
    version = Version(
        content=content,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        rows=rows,
        parents=[_parent(name, digest) for name, digest in known.items()],
        steps=list(steps),
    )
    storage.write_json(place(target), version.model_dump(exclude_defaults=True), point="version")
    return version


def changed(target: Path, step: Step) -> Version:
    """Record that rows of a recorded set were changed where they are."""
    before = read(target)
    content, rows = content_of(target)
    version = Version(
        content=content,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        rows=rows,
        parents=before.parents if before else [],
        steps=[*(before.steps if before else []), step],
    )
    storage.write_json(place(target), version.model_dump(exclude_defaults=True), point="version")
    return version


def read(target: Path) -> Version | None:
    """The recorded version of a data folder or of a file; of a side's file, that of its folder."""
    path = place(target)
    if not path.exists() and target.stem in SIDES:
        path = target.parent / FILE
    return Version.model_validate(storage.read_json(path)) if path.exists() else None


def place(target: Path) -> Path:
    """Where the version of a data folder or file is written."""
    return target / FILE if target.is_dir() else target.with_name(f"{target.name}.{FILE}")


def content_of(target: Path) -> tuple[str, dict[str, int]]:
    """The hash of a data folder's sides or of a file, and the rows of each side.

    A file is hashed as it is; its rows are counted where they are JSON lines.
    """
    if not target.is_dir():
        is_jsonl = target.suffix.lower() in (".jsonl", ".ndjson")
        return storage.sha256(target), {"rows": _hash_of_lines(target)[1]} if is_jsonl else {}
    whole, rows = hashlib.sha256(), {}
    for side in SIDES:
        digest, rows[side] = _hash_of_lines(target / f"{side}.jsonl")
        whole.update(f"{side} {rows[side]} {digest}\n".encode())
    return whole.hexdigest(), rows


def _hash_of_lines(path: Path) -> tuple[str, int]:
    """SHA-256 of the rows of a file without their ids, and how many there are."""
    found, num_rows = hashlib.sha256(), 0
    for line in storage.read_lines(path):
        if not line.isspace():
            found.update(_without_id(line.encode("utf-8")))
            num_rows += 1
    return found.hexdigest(), num_rows


def _without_id(line: bytes) -> bytes:
    bare, found = _ID.subn(b"{", line, count=1)
    if found:
        return bare
    try:  # written by hand in another order of keys
        values = example_of(line).to_row()
    except ValueError:
        return line
    values.pop("id", None)
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _parent(name: str, digest: str) -> Parent:
    if name.startswith(HUB):
        revision = re.search(r"@([\w./-]+)", name)
        return Parent(name=name, sha256=digest, revision=revision[1] if revision else None)
    version = read(Path(name))
    return Parent(name=name, sha256=digest, version=version.id if version else None)
