"""The audit log: records chained by hash, so that an edited, deleted, moved or cut one is found and named."""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.core import storage
from tunewright.core.errors import DataError

NAME = "audit.jsonl"
KEY = ".audit.key"  # beside the log; without it no digest can be traced to a person by guessing
FIRST = "0" * 64  # what stands for the hash before the first record


class Record(BaseModel):
    """Who did what, when; `subject` is a keyed digest of what was asked for, never a person's data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int
    when: str
    who: str
    action: str
    subject: str
    counts: dict[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True)
class Verified:
    """What a log holds. problem: what is wrong, naming the first bad record, whose number is `bad`; None: it is whole.

    since: how many records came after the head that was asked for.
    """

    num_records: int
    head: str
    bad: int | None = None
    problem: str | None = None
    since: int = 0


def append(log: Path, *, action: str, subject: str, counts: dict[str, Any]) -> Record:
    """Add a record and return it: its hash is the new head, to be kept elsewhere. Raises DataError where the log is
    broken.

    The whole log is written anew and renamed into place, so a crash leaves the old log or the new one.
    """
    with _locked(log):
        found = verify(log)
        if found.problem:
            raise DataError(
                f"Nothing can be added to the audit log {log}: {found.problem}. Keep that file as evidence under "
                "another name; a new log begins with the next record."
            )
        facts = {
            "seq": found.num_records + 1,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": f"{_user()}@{socket.gethostname()}",
            "action": action,
            "subject": subject,
            "counts": counts,
            "prev": found.head,
        }
        record = Record.model_validate({**facts, "hash": _hash(facts)})
        line = json.dumps(record.model_dump(), ensure_ascii=False).encode("utf-8") + b"\n"
        storage.write_bytes(log, (log.read_bytes() if log.exists() else b"") + line, point="audit")
    return record


def records(log: Path) -> list[Record]:
    """The records of a log that is whole. Raises DataError naming the first bad one."""
    found = verify(log)
    if found.problem:
        raise DataError(f"The audit log {log} is broken: {found.problem}. Compare it with a copy kept elsewhere.")
    return [Record.model_validate_json(line) for line in _lines(log)]


def verify(log: Path, head: str | None = None) -> Verified:
    """Follow the chain: each record's own hash, its number, and the hash of the one before it.

    head: a hash that was printed when a record was written; a log that does not hold it has been cut or replaced.
    """
    before, hashes = FIRST, [FIRST]
    for number, line in enumerate(_lines(log), start=1):
        problem = _problem(line, number, before)
        if problem is not None:
            return Verified(number - 1, before, number, f"record {number} {problem}")
        before = str(json.loads(line)["hash"])
        hashes.append(before)
    count = len(hashes) - 1
    if head is None:
        return Verified(count, before)
    places = [place for place, known in enumerate(hashes) if known.startswith(head.lower())] if len(head) >= 12 else []
    if not places:
        cut = f"record {count + 1} and what followed it are missing: no record has the head {head[:12]}"
        return Verified(count, before, count + 1, cut)
    return Verified(count, before, since=count - places[-1])


def keyed(log: Path, text: str) -> str:
    """A digest of a text that only the holder of this log's key can check (HMAC-SHA-256, RFC 2104)."""
    path = log.with_name(KEY)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write_text(path, secrets.token_hex(32), point="audit.key")
        path.chmod(0o600)
    return hmac.new(path.read_text(encoding="ascii").encode(), text.encode("utf-8"), hashlib.sha256).hexdigest()


def _problem(line: bytes, number: int, before: str) -> str | None:
    """What is wrong with the record of a line, in a few words."""
    if not line.endswith(b"\n"):
        return "is cut off in the middle"
    try:
        facts = json.loads(line)
        Record.model_validate(facts)
    except (ValueError, ValidationError):
        return "is no record"
    own = facts.pop("hash")
    if facts["seq"] != number:
        return f"is missing or moved: number {facts['seq']} stands in its place"
    if facts["prev"] != before:
        return "does not follow the one before it: one of the two was replaced"
    return None if hmac.compare_digest(own, _hash(facts)) else "has been edited since it was written"


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode("utf-8")).hexdigest()


def _lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True) if log.exists() else []


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id that has no name
        return str(os.getuid())


@contextmanager
def _locked(log: Path) -> Iterator[None]:
    """One writer at a time."""
    import fcntl

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.with_name(f".{log.name}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
