"""Carries the deletion of a person's rows through every version, cache, ledger, answer and report under the runs.

Order makes it safe to die anywhere: everything that is derived goes first, found by the rows that are still there; the
rows go last. So the same request again finds what is left, and completes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError, NotThere
from tunewright.core.report import Finding, ProofResult, Report
from tunewright.core.run import Run
from tunewright.privacy import audit_log
from tunewright.privacy.deletion import Asked
from tunewright.stages import erasing, quarantined, source_lines, tracing
from tunewright.stages.deletion_plan import Found, InRun

BEGUN, DONE, INCOMPLETE = "forget.begun", "forget.done", "forget.incomplete"


def forget(
    *,
    where: str | None = None,
    ids: list[str] | None = None,
    contains: str | None = None,
    runs: str | Path = "runs",
    also_sources: bool = False,
    yes: bool = False,
) -> Report:
    """Delete a person's rows, named by a column's value, by ids, or by a text; without `yes` only tell what would go.

    also_sources: rows of the source files too, which are otherwise listed. Raises DataError, NotThere, and RunBusy when
    one of the runs is at work.
    """
    runs, asked = Path(runs), Asked.parse(where, ids or [], contains)
    if not runs.is_dir():
        raise NotThere(f"There is no folder '{runs}' that holds runs. Name the one that does with --runs.")
    found = tracing.trace(asked, runs)
    if not yes:
        return _report(found, done=None)
    log = runs / audit_log.NAME
    subject = audit_log.keyed(log, asked.text)
    begun = _unfinished(log, subject)
    names = {one.name for one in found.runs} | set(begun.counts["runs"] if begun is not None else [])
    with ExitStack() as held:
        for name in sorted(names):
            if (runs / name / "run.json").exists():
                held.enter_context(Run(runs / name).held())
        found = tracing.trace(asked, runs)  # as it is now that nobody else writes
        if {one.name for one in found.runs} - names:
            raise DataError("Another run took in rows of this person meanwhile. Run the same command again.")
        return _carry_out(found, runs, subject, begun, also_sources=also_sources)


def audit(*, runs: str | Path = "runs", head: str | None = None) -> Report:
    """Check the audit log of the runs; head: a hash kept elsewhere, by which a cut log is found. Raises NotThere."""
    log = Path(runs) / audit_log.NAME
    if not log.exists() and head is None:
        raise NotThere(f"There is no audit log {log}: nothing was forgotten under {runs} yet.")
    verified = audit_log.verify(log, head)
    claim = "Every record follows from the one before it" + (" up to the head that was given" if head else "")
    proof = ProofResult(
        name="audit",
        claim=claim,
        measured=verified.problem or f"{verified.num_records} records, none changed",
        bound="no broken record",
        holds=verified.problem is None,
    )
    numbers: dict[str, Any] = asdict(verified)
    if verified.problem is None:
        numbers["records"] = [record.model_dump() for record in audit_log.records(log)]
    return Report(stage="data audit", run="", numbers=numbers, proofs=[proof])


# --- carrying out ---


def _carry_out(found: Found, runs: Path, subject: str, begun: audit_log.Record | None, *, also_sources: bool) -> Report:
    log = runs / audit_log.NAME
    touched = {one.name for one in found.runs}
    earlier: list[str] = begun.counts["runs"] if begun is not None else []
    if begun is None or touched - set(earlier):
        counts = _counts(found) | {"runs": sorted({*touched, *earlier})}
        begun = audit_log.append(log, action=BEGUN, subject=subject, counts=counts)
    for one in found.runs:
        if one.because is not None:
            quarantined.mark(one.run, subject=subject, rows=one.num_trained, because=one.because)
    erasing.derived(found, tombstone=lambda id: audit_log.keyed(log, id)[:16])
    # what is found by the other goes first: lines by the ids of rows, or rows by what their lines say
    if asked_by_id := bool(found.asked.ids):
        sources = source_lines.empty(found) if also_sources else {}
    erasing.rows(found)
    if not asked_by_id:
        sources = source_lines.empty(found) if also_sources else {}
    for name in begun.counts["runs"]:
        if (runs / name / "run.json").exists():
            erasing.settle(Run(runs / name), step={"subject": subject[:16]})
    left = erasing.left(found, runs)
    record = audit_log.append(
        log,
        action=INCOMPLETE if left else DONE,
        subject=subject,
        counts=_counts(found) | {"runs": begun.counts["runs"], "sources": sources, "left": len(left)},
    )
    return _report(found, done=record, left=left, changed_sources=sources)


def _unfinished(log: Path, subject: str) -> audit_log.Record | None:
    """The record of the same request that was begun and never done."""
    same = [record for record in audit_log.records(log) if record.subject == subject]
    return same[-1] if same and same[-1].action != DONE else None


def _counts(found: Found) -> dict[str, Any]:
    """Figures alone: nothing in the log tells of the person."""
    return {
        "rows": found.num_rows,
        "quarantined_lines": sum(one.num_quarantined for one in found.runs),
        "by_run": {one.name: one.num_rows for one in found.runs if one.num_rows},
        "trained": {one.name: one.num_trained for one in found.runs if one.num_trained},
        "quarantined_runs": sorted(one.name for one in found.runs if one.because is not None),
    }


# --- telling ---


def _report(
    found: Found,
    *,
    done: audit_log.Record | None,
    left: list[str] | None = None,
    changed_sources: dict[str, int] | None = None,
) -> Report:
    numbers: dict[str, Any] = {
        **_counts(found),
        "done": done is not None,
        "runs": [_told(one) for one in found.runs],
        "other_files": [str(path) for path in found.loose],
        "sources": [{"file": one.file, "lines": one.lines, "can_change": one.can_change} for one in found.sources],
    }
    proofs = []
    if done is not None:
        numbers |= {"head": done.hash, "record": done.seq, "changed_sources": changed_sources}
        proofs.append(
            ProofResult(
                name="gone",
                claim="No file under the runs holds a text that only the forgotten rows said (weights aside)",
                measured=f"{len(left or [])} files" + (f": {', '.join((left or [])[:3])}" if left else ""),
                bound="0 files",
                holds=not left,
            )
        )
    findings = list(_findings(found, done is not None, changed_sources or {}))
    following = None if done is not None or not found.runs else "the same command with --yes"
    return Report(stage="data forget", run="", numbers=numbers, findings=findings, proofs=proofs, next=following)


def _told(one: InRun) -> dict[str, Any]:
    return {
        "name": one.name,
        "rows": one.rows,
        "quarantined_lines": one.num_quarantined,
        "files": [str(path.relative_to(one.run.folder)) for path in one.derived],
        "caches": [str(path.resolve().relative_to(one.run.folder.resolve())) for path in one.caches],
        "trained_rows": one.num_trained,
        "trained_steps": one.num_steps,
        "quarantined": one.because,
        "releases": [folder.name for folder in one.run.releases()] if one.because is not None else [],
    }


def _findings(found: Found, done: bool, changed: dict[str, int]) -> Iterator[Finding]:
    if not found.num_rows:
        yield Finding(name="nothing_found", message=f"No prepared row is meant by this request. {found.hint}".strip())
    for one in found.runs:
        if one.because is None:
            continue
        releases = ", ".join(folder.name for folder in one.run.releases()) or "none"
        yield Finding(
            name="trained_on",
            severity="problem",
            message=(
                f"The weights of {one.name} {'are' if done else 'will be'} marked as quarantined, "
                f"{quarantined.REASON}: {one.because}. Releases: {releases}."
            ),
            count=one.num_trained or None,
            remedy="Deleting rows takes nothing out of weights. Tune again without the rows (--fresh), deploy that.",
        )
    for source in found.sources:
        if source.file in changed:
            continue
        how = "" if source.can_change else " (of a kind that is not rewritten: change it by hand)"
        yield Finding(
            name="in_sources",
            severity="warning",
            message=f"{source.file} holds {len(source.lines):,} of the rows{how}; preparing again brings them back.",
            count=len(source.lines),
            remedy="Add --sources to empty these lines there too, or take them out yourself.",
        )
    if found.num_mentions:
        yield Finding(
            name="still_mentioned",
            severity="warning",
            message=f"{found.num_mentions:,} rows that stay mention the value itself, outside the column.",
            count=found.num_mentions,
            remedy="Where they tell of the person too, forget them with --contains.",
        )
