"""Turns a release's traffic into rows for the next recipe: corrections at once, doubtful answers after a review."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import harvested, private, storage
from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.core.example import Example, Message
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.core.spans import DAY_SECONDS
from tunewright.core.traffic import Exchanged
from tunewright.data.admit import MEASURES, REASONS, Gate, said
from tunewright.data.near import SIMILARITY
from tunewright.stages import harvest_queue
from tunewright.stages.harvest_log import HarvestLog
from tunewright.stages.harvest_queue import Candidate, Decision

if TYPE_CHECKING:
    from tunewright.workspace.logged_releases import Logged

CONFIDENCE = 0.5
MOST = 200  # doubtful answers that wait for a review: a person's afternoon
UNFINISHED = ("cut", "error")
SPOKEN = {"correction", "thumb_down"}  # reasons that a user gave
OTHER_ANSWERS = ("tag", "reward")  # releases whose answers are no texts to correct


@dataclass
class Harvest:
    """A release with its queue, opened. Changes are kept by `settle`."""

    logged: Logged
    decode: dict[str, Any]
    queue: dict[str, Candidate]
    counts: Counter[str] = field(default_factory=Counter)
    file: str | Path | None = None  # what was looked through instead of the workspace's traffic

    @property
    def files(self) -> tuple[Path, Path]:
        """The queue, and the rows to learn from."""
        run, number = self.logged.run, self.logged.folder.name
        return harvested.queue_file(run, number), harvested.rows_file(run, number)

    @property
    def labels(self) -> set[str]:
        """Those of which an answer is one; empty where answers are anything else, sets of labels among them."""
        return set() if self.decode.get("multi") else set(self.decode.get("labels", []))

    @property
    def waiting(self) -> list[Candidate]:
        """What nobody decided yet, in the order of the weight of why it was chosen."""
        order = list(harvest_queue.WHY)
        waiting = [one for one in self.queue.values() if one.decision is None]
        return sorted(waiting, key=lambda one: (order.index(one.why[0]), one.confidence or 0.0))

    def decide(self, id: str, decision: Decision, correction: str | None = None) -> None:
        """Take in a reviewer's word and keep it at once."""
        self.queue[id] = self.queue[id].decided(decision, correction)
        harvest_queue.save(self.files[0], self.queue.values())


def harvest(
    release: str,
    *,
    workspace: str | Path = ".",
    confidence: float = CONFIDENCE,
    most: int = MOST,
    days: float | None = None,
    reviewed: str | Path | None = None,
    traffic: str | Path | None = None,
) -> Report:
    """Take what is worth learning from out of a release's logged traffic, and write the rows that are ready.

    release: `run` (its newest), `run:001`, or the name of a tuned model. Corrections by users are ready. Thumbs down,
    answers that stood out in monitoring, and those below this confidence wait for a reviewer, `most`
    of the last two kinds. days: traffic of the last days alone. reviewed: a copy of the queue with decisions.
    traffic: a file of logged requests that this release answered elsewhere, instead of what the workspace logged.

    Never written: what is near to a row that measures the release, or repeats a training row. Raises NotThere, NoKey,
    DataError.
    """
    opened = begin(release, workspace=workspace, confidence=confidence, most=most, days=days, traffic=traffic)
    if reviewed is not None:
        _take_reviewed(opened, Path(reviewed))
    return settle(opened)


def begin(
    release: str,
    *,
    workspace: str | Path = ".",
    confidence: float = CONFIDENCE,
    most: int = MOST,
    days: float | None,
    traffic: str | Path | None = None,
) -> Harvest:
    """Look through the traffic and bring the queue up to date, without deciding anything. Raises as `harvest`."""
    from tunewright.workspace import logged_releases
    from tunewright.workspace import traffic as kept
    from tunewright.workspace.place import Workspace

    if not 0 <= confidence <= 1 or most < 0:
        raise DataError(f"confidence lies in [0, 1] and most is no less than 0, found {confidence:g} and {most}.")
    place = Workspace.open(workspace)
    logged = logged_releases.find(place, release)
    found = Harvest(logged, logged.decode(), {}, file=traffic)
    if found.decode["kind"] in OTHER_ANSWERS:
        raise DataError(
            f"{logged.name} answers with {found.decode['kind']}s, of which no rows can be made from traffic."
        )
    found.queue = harvest_queue.load(found.files[0])
    since = None if days is None else time.time() - days * DAY_SECONDS
    chosen = partial(_take_traffic, found, monitored=_monitored(logged), confidence=confidence, most=most)
    if traffic is None:
        chosen(kept.read(place, release=logged.names, since=since))
    else:
        file = HarvestLog(Path(traffic), place, sorted(found.labels))
        found.counts["unanswered"] = file.num_failed
        chosen(file.since(since), clean=file.clean)
    harvest_queue.save(found.files[0], found.queue.values())
    return found


def settle(found: Harvest) -> Report:
    """Write the rows of all that was decided, each unless something speaks against it, and tell what came of it."""
    queue_file, rows_file = found.files
    kept, findings = _rows(found)
    harvest_queue.save(queue_file, found.queue.values())
    storage.write_jsonl(rows_file, (example.to_row() for example in kept))
    waiting = len(found.waiting)
    counts = found.counts
    numbers: dict[str, Any] = {
        "release": found.logged.name,
        "answers": counts["answers"],
        "candidates": len(found.queue),
        "why": {why: n for why in harvest_queue.WHY if (n := sum(why in one.why for one in found.queue.values()))},
        "ready": len(kept),
        "waiting": waiting,
        "skipped": sum(one.decision == "skip" for one in found.queue.values()),
        "queue": str(queue_file),
        "rows": str(rows_file),
    }
    findings += _left_out(found)
    if kept and not private.is_private(rows_file.parent):
        message = "The rows are scrubbed, and lie in the run in plain, no longer encrypted as traffic is."
        remedy = f"Encrypt the run where that matters: tunewright data lock {found.logged.run.name} --key FILE"
        findings.append(Finding(name="in_plain", message=message, remedy=remedy))
    name = found.logged.name
    following = f"tunewright harvest {name} --review" if waiting else None
    if kept and not waiting:
        following = f"data: {{more: [{harvested.TRAFFIC}{name}]}} in the next recipe"
    return Report(stage="harvest", run=found.logged.run.name, numbers=numbers, findings=findings, next=following)


def _left_out(found: Harvest) -> Iterator[Finding]:
    """What was worth a look and could not be looked at."""
    told = {
        "without_texts": (
            "answers that were worth a look were logged without their texts",
            "Keep more: traffic.sample in workspace.yaml."
            if found.file is None
            else "Log what was said: answers that only call tools are not harvested from a file.",
        ),
        "unfit": (
            "answers that were worth a look have messages or a correction that cannot be read, or must be dropped",
            "Write them as OpenAI's API does.",
        ),
        "unanswered": ("requests of the file have no answer", "Nothing to do: they were left out."),
    }
    for name, (what, remedy) in told.items():
        if count := found.counts[name]:
            yield Finding(name=name, message=f"{count:,} {what}.", count=count, remedy=remedy)


# --- what is worth a look ---


def _take_traffic(
    found: Harvest,
    answers: Iterator[Exchanged],
    *,
    monitored: set[str],
    confidence: float,
    most: int,
    clean: Callable[[Exchanged], Exchanged | None] = lambda one: one,
) -> None:
    """Put answers into the queue; of those that nobody spoke of, the least sure. clean: makes of an answer what may be
    kept of it.
    """
    unsure: list[tuple[float, str, Candidate]] = []
    room = most - sum(not SPOKEN & {*one.why} for one in found.waiting)
    for one in answers:
        found.counts["answers"] += 1
        why = _why(one, monitored, confidence)
        if not why:
            continue
        if one.messages is None or one.answer is None:
            found.counts["without_texts"] += 1
            continue
        kept = clean(one)
        if kept is None:
            found.counts["unfit"] += 1
            continue
        candidate = _candidate(kept, found, why)
        if one.id in found.queue or SPOKEN & {*why}:
            found.queue[one.id] = _merged(found.queue.get(one.id), candidate)
            continue
        sure = 1.0 if one.confidence is None else one.confidence
        heapq.heappush(unsure, (-sure, one.id, candidate))
        if len(unsure) > room:
            heapq.heappop(unsure)
    found.queue |= {id: candidate for _, id, candidate in sorted(unsure, reverse=True)}


def _why(one: Exchanged, monitored: set[str], confidence: float) -> list[str]:
    facts = {
        "correction": one.correction is not None,
        "thumb_down": one.thumb == "down",
        "monitored": one.id in monitored and one.finish not in UNFINISHED,
        "low_confidence": (one.confidence is not None and one.confidence < confidence and one.finish not in UNFINISHED),
    }
    return [why for why in harvest_queue.WHY if facts[why]]


def _candidate(one: Exchanged, found: Harvest, why: list[str]) -> Candidate:
    """An answer for the queue; a user's correction decides of it, unless the release knows no such label."""
    assert one.messages is not None and one.answer is not None
    turns = one.correction
    corrected: str | list[Message] | None = [Message(**t) for t in turns] if isinstance(turns, list) else turns
    is_sure = corrected is not None and (not found.labels or corrected in found.labels)
    return Candidate(
        id=one.id,
        release=found.logged.name,
        why=why,
        created=one.created,
        confidence=one.confidence,
        thumb=one.thumb,
        comment=one.comment,
        messages=[Message(**message) for message in one.messages],
        tools=one.tools,
        answer=one.answer,
        decision="correct" if is_sure else None,
        correction=corrected,
        by="user" if is_sure else None,
    )


def _merged(held: Candidate | None, fresh: Candidate) -> Candidate:
    """What the queue held, with what was said since; a reviewer's word stands."""
    if held is None:
        return fresh
    both = {*held.why, *fresh.why}
    fresh = fresh.model_copy(update={"why": [why for why in harvest_queue.WHY if why in both]})
    if held.by != "reviewer":
        return fresh
    return fresh.model_copy(update={"decision": held.decision, "correction": held.correction, "by": held.by})


def _monitored(logged: Logged) -> set[str]:
    """Ids of answers that the run's monitoring names as examples of its findings."""
    report = logged.run / "monitor" / "report.json"
    if not report.exists():
        return set()
    findings = storage.read_json(report).get("findings", [])
    return {str(id) for finding in findings for id in finding.get("examples") or []}


def _take_reviewed(found: Harvest, path: Path) -> None:
    given = harvest_queue.reviewed(path)
    strange = next((id for id in given if id not in found.queue), None)
    if strange is not None:
        raise NotThere(f"{path}: {unknown('answer', strange, found.queue)} Is it of another release?")
    for id, one in given.items():
        held = found.queue[id]
        if (one.decision, one.correction) == (held.decision, held.correction):
            continue
        decision = one.decision or "correct"
        correction = one.correction if decision == "correct" else held.correction
        changes = {"decision": decision, "correction": correction, "by": "reviewer"}
        found.queue[id] = held.model_copy(update=changes)


# --- what may be learned ---


def _rows(found: Harvest) -> tuple[list[Example], list[Finding]]:
    """The rows of what was accepted and corrected, and what speaks against some of them."""
    run = Run(found.logged.run)
    sides = {side: run.split(side) for side in (*MEASURES, "train") if run.path("data", f"{side}.jsonl").exists()}
    gate = Gate(sides, threshold=SIMILARITY)
    labelled = bool(found.labels) or any(example.label is not None for example in sides.get("train", [])[:1])
    kept: list[Example] = []
    against: dict[str, list[str]] = {}
    strange = [f"{one.id}: '{one.correction}'" for one in found.waiting if one.correction is not None]
    if strange:
        against["unknown_label"] = strange
    for one in found.queue.values():
        if one.decision not in ("accept", "correct"):
            continue
        example = one.example(system=found.decode.get("system"), labelled=labelled)
        why = gate.against(example)
        if why is not None:
            against.setdefault(why[0], []).append(f"{one.id} and {why[1]}: {said(example)[:120]}")
            if why[0] not in ("near_training", "contradicts"):
                continue
        gate.take(example)
        kept.append(example)
    return kept, [*_not_compared(sides, found), *_told(against)]


def _not_compared(sides: Mapping[str, Any], found: Harvest) -> Iterator[Finding]:
    if "test" not in sides:
        message = f"The test rows of {found.logged.run.name} are not there, so none of the rows was compared with them."
        remedy = "Give them as data.more: prepare compares those with its own test rows."
        yield Finding(name="not_compared", severity="warning", message=message, remedy=remedy)


def _told(against: dict[str, list[str]]) -> Iterator[Finding]:
    for why, rows in against.items():
        remedy = "Nothing to do: they were left out."
        severity = "info"
        if why == "unknown_label":
            message, severity = "users corrected them to what is none of the release's labels", "warning"
            remedy = "They wait for a reviewer: correct them to a label, or to the new one, which is then learned."
        elif why == "near_training":
            message, remedy = REASONS[why], "They are learned from; data.more keeps them from measuring."
        elif why == "contradicts":
            message, severity = REASONS[why], "warning"
            remedy = "They are learned from. Look at both: one of the two answers is wrong."
        else:
            message = REASONS[why]
            severity = "info" if why == "repeated" else "warning"
        told = f"{len(rows):,} of the rows: {message}."
        yield Finding(name=why, severity=severity, message=told, count=len(rows), example=rows[0], remedy=remedy)
