"""What a workspace logged of its releases' answers: told, exported, and deleted on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import harvested, private, storage
from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.core.report import Finding, Report
from tunewright.privacy import audit_log
from tunewright.stages.more_rows import fresh

if TYPE_CHECKING:
    from tunewright.core.traffic import Exchanged
    from tunewright.workspace.place import Workspace

FORGOTTEN = "traffic.forgotten"


def logged(
    release: str | None = None,
    *,
    workspace: str | Path = ".",
    rows: int = 0,
    texts: bool = False,
    out: str | Path | None = None,
) -> Report:
    """What was logged of every release, or of one (`run`, `run:001`, or a tuned model's name).

    rows: tell so many of the newest answers. out: write all of them to a new JSONL file. texts: with what was asked and
    said, which needs the key. Raises NotThere, NoKey, DataError.
    """
    from tunewright.workspace import traffic
    from tunewright.workspace.place import Workspace

    place = Workspace.open(workspace)
    counted = traffic.count(place)
    names = None if release is None else _names(place, release, [one.release for one in counted])
    mine = [one for one in counted if names is None or one.release in names]
    numbers: dict[str, Any] = {"logging": place.config.traffic.log, "releases": [asdict(one) for one in mine]}
    findings = []
    if out is not None:
        target = fresh(out, ".jsonl")
        numbers["written"] = storage.write_jsonl(
            target, (_plain(one, texts) for one in traffic.read(place, release=names, texts=texts))
        )
        numbers["out"] = str(target)
        if texts and not private.is_private(target.parent):
            message = f"{target} holds texts in plain, which are encrypted in the workspace. They are scrubbed."
            remedy = "Delete it when you are done; a deletion in the workspace does not reach it."
            findings.append(Finding(name="in_plain", severity="warning", message=message, remedy=remedy))
    if rows:
        ids = traffic.newest(place, rows, release=names)
        numbers["rows"] = [_plain(one, texts) for one in traffic.read(place, ids=ids, texts=texts)]
    if dropped := traffic.num_dropped(place):
        message = f"{dropped:,} answers were not logged: more came at once than could be written."
        findings.append(Finding(name="dropped", severity="warning", message=message, count=dropped))
    following = None
    if not counted and not place.config.traffic.log:
        following = f"write 'traffic: {{log: true}}' into {place.state / 'workspace.yaml'}, and serve"
    return Report(stage="traffic", run=release or "", numbers=numbers, findings=findings, next=following)


def forget(*, ids: Sequence[str] = (), users: Sequence[str] = (), workspace: str | Path = ".") -> Report:
    """Delete logged answers with these ids, and all of these users (as clients named them), with what was said of them
    and what was harvested from them.

    The deletion is written to the audit log under the workspace's runs, without the person's data. Raises DataError
    where nothing is named, NoKey.
    """
    from tunewright.workspace import traffic
    from tunewright.workspace.place import Workspace

    if not ids and not users:
        raise DataError("Say whose traffic to forget: ids of answers (--forget ID), or users (--forget-user NAME).")
    place = Workspace.open(workspace)
    gone = traffic.forget(place, ids=ids, people=users)
    cleared = place.database.clear_log()
    log = place.runs / audit_log.NAME
    subject = audit_log.keyed(log, storage.digest([sorted(ids), sorted(users)]))
    record = audit_log.append(log, action=FORGOTTEN, subject=subject, counts={"answers": len(gone)})
    rows = _out_of_harvests(place, {*ids, *gone})
    numbers = {"forgotten": len(gone), "ids": gone, "harvested": rows, "head": record.hash}
    findings = []
    if rows:
        message = f"{len(rows)} of them had become rows, from which runs may have learned."
        remedy = f"For each of these ids: tunewright data forget --where {harvested.ORIGIN}=ID --yes"
        example = ", ".join(rows)
        findings.append(Finding(name="harvested", severity="warning", message=message, example=example, remedy=remedy))
    if not cleared:
        message = "A reader of the database keeps its log: what was deleted is in there until it has ended."
        findings.append(Finding(name="not_cleared", severity="warning", message=message, remedy="Run this again then."))
    return Report(stage="traffic", run="", numbers=numbers, findings=findings)


def _names(place: Workspace, release: str, known: list[str]) -> list[str]:
    """The names under which answers of a release are logged. Raises NotThere."""
    from tunewright.workspace import logged_releases

    if release in known and ":" not in release:
        return [release]  # a base, or a release whose folder is gone
    try:
        return list(logged_releases.find(place, release).names)
    except NotThere:
        if release in known:
            return [release]
        raise NotThere(f"Nothing was logged of it. {unknown('release', release, known)}") from None


def _plain(one: Exchanged, texts: bool) -> dict[str, Any]:
    """An answer as plain values, without what was not asked for."""
    without = () if texts else ("messages", "tools", "answer", "correction", "comment", "notes")
    return {name: value for name, value in asdict(one).items() if name not in without}


def _out_of_harvests(place: Workspace, ids: set[str]) -> list[str]:
    """Take answers out of all queues and files of rows; those that were rows."""
    gone = set()
    for path in sorted(place.runs.glob(f"*/{harvested.FOLDER}/*.jsonl")):
        found = {str(row["id"]) for row in storage.read_jsonl(path)} & ids
        if found:
            storage.keep_rows(path, lambda row: row["id"] not in ids)
        if not harvested.is_queue(path):
            gone |= found
    return sorted(gone)
