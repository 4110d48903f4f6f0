"""A chained log: whatever is done to a record behind its back is found, and the first bad record is named (S26)."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from tunewright.core.errors import DataError
from tunewright.privacy import audit_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of five records."""
    path = tmp_path / "runs" / "audit.jsonl"
    for number in range(5):
        audit_log.append(path, action="forget", subject=f"digest {number}", counts={"rows": number})
    return path


def lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True)


def test_a_whole_log_verifies_and_its_head_is_the_last_hash(log: Path) -> None:
    found = audit_log.verify(log)
    assert (found.num_records, found.bad, found.problem) == (5, None, None)
    assert found.head == json.loads(lines(log)[-1])["hash"]
    assert [record.seq for record in audit_log.records(log)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("key", ["when", "who", "action", "subject", "counts", "prev", "hash", "seq"])
def test_an_edit_of_any_field_names_the_record(log: Path, number: int, key: str) -> None:
    kept = lines(log)
    facts = json.loads(kept[number - 1])
    facts[key] = {"rows": 99} if key == "counts" else facts[key] + 1 if key == "seq" else facts[key][::-1] + "x"
    kept[number - 1] = json.dumps(facts).encode() + b"\n"
    log.write_bytes(b"".join(kept))
    # the last record's own hash has no follower that would tell: it no longer fits its record
    assert audit_log.verify(log).bad == number


@pytest.mark.parametrize("number", range(1, 5))
def test_a_deleted_record_is_named(log: Path, number: int) -> None:
    kept = lines(log)
    del kept[number - 1]
    log.write_bytes(b"".join(kept))
    assert audit_log.verify(log).bad == number


def test_a_record_that_was_edited_with_a_fitting_hash_breaks_the_next(log: Path) -> None:
    kept = lines(log)
    facts = json.loads(kept[1])
    facts.pop("hash")
    facts["counts"] = {"rows": 0}
    kept[1] = json.dumps({**facts, "hash": audit_log._hash(facts)}).encode() + b"\n"
    log.write_bytes(b"".join(kept))
    assert audit_log.verify(log).bad == 3


def test_two_records_that_change_places_are_found(log: Path) -> None:
    kept = lines(log)
    kept[2], kept[3] = kept[3], kept[2]
    log.write_bytes(b"".join(kept))
    found = audit_log.verify(log)
    assert found.bad == 3
    assert found.problem is not None and "number 4 stands in its place" in found.problem


@pytest.mark.parametrize("kept", range(5))
def test_a_cut_log_is_found_by_a_head_that_was_kept_elsewhere(log: Path, kept: int) -> None:
    heads = [json.loads(line)["hash"] for line in lines(log)]
    log.write_bytes(b"".join(lines(log)[:kept]))
    assert audit_log.verify(log).problem is None  # the chain alone cannot tell
    found = audit_log.verify(log, heads[-1])
    assert found.bad == kept + 1
    if kept:
        assert audit_log.verify(log, heads[kept - 1]).problem is None


def test_an_earlier_head_tells_how_many_came_since(log: Path) -> None:
    head = json.loads(lines(log)[1])["hash"]
    assert audit_log.verify(log, head).since == 3
    assert audit_log.verify(log, head[:16]).since == 3
    assert audit_log.verify(log, head[:4]).bad == 6  # too short to mean anything


def test_a_torn_last_record_is_found_and_nothing_is_added_to_a_broken_log(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-20])
    assert audit_log.verify(log).bad == 5
    with pytest.raises(DataError, match="record 5 is cut off"):
        audit_log.append(log, action="forget", subject="x", counts={})


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert audit_log.verify(tmp_path / "audit.jsonl").num_records == 0
    assert audit_log.verify(tmp_path / "audit.jsonl", "a" * 64).bad == 1


def test_a_digest_needs_the_key(tmp_path: Path) -> None:
    log, other = tmp_path / "a" / "audit.jsonl", tmp_path / "b" / "audit.jsonl"
    assert audit_log.keyed(log, "alice") == audit_log.keyed(log, "alice") != audit_log.keyed(log, "bob")
    assert audit_log.keyed(log, "alice") != audit_log.keyed(other, "alice")
    assert (log.with_name(audit_log.KEY).stat().st_mode & 0o777) == 0o600


def _write(log: Path) -> None:
    for _ in range(10):
        audit_log.append(log, action="forget", subject="s", counts={})


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(log,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert audit_log.verify(log).num_records == 20
    assert audit_log.verify(log).problem is None
