"""Fine-tuning jobs in the database: their states, the queue, what is told of them.

A job goes validating_files -> queued -> running -> succeeded | failed | cancelled. `paused` stands between running and
queued. A job that nobody works on changes at once; what a client wants of a running one (cancel, pause) is written in
`wanted`, and the worker obeys. Every change of state is one conditional UPDATE: of two that try the same, one wins and
the other is told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from tunewright.core.errors import NotThere, RunError
from tunewright.workspace import ids, webhooks
from tunewright.workspace.tables import Job, JobEvent, JobKey

STATUSES = ("validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled")
ENDED = ("succeeded", "failed", "cancelled")
REPEAT_SECONDS = 120.0  # the longest pause before another try that the API's client keeps to
LATE_SECONDS = 10.0  # by which a first try may come later than the second
WAITING = ("validating_files", "queued", "paused")  # nobody works on the job


def find(session: Session, job_id: str, *, project: str) -> Job | None:
    """A job of a project by its id."""
    return session.scalar(_one(job_id, project))


def _one(job_id: str, project: str) -> Select[Job]:
    return select(Job).where(Job.id == ids.comparable(job_id), Job.project == project)


def repeated(session: Session, job: Job) -> Job | None:
    """The job that the request behind a new one made before; None if it is the first. Until the session ends, no other
    may look for the same (Database.one_at_a_time with the job's repeat_key, else its body_digest).

    Two requests are the same by their repeat_key. Without one, a client's second try (`tries` above 0) is the same as
    an equal body a short time before; and a first try that comes after its second is the same as that. Raises RunError
    for a repeat_key that came with another body.
    """
    same = select(Job).where(Job.project == job.project, Job.key_id == job.key_id).order_by(Job.number.desc()).limit(1)
    if job.repeat_key is not None:
        before = session.scalar(same.where(Job.repeat_key == job.repeat_key))
        if before is not None and before.body_digest != job.body_digest:
            raise RunError("This Idempotency-Key came with another body before. Take a new key for another job.")
        return before
    alike = same.where(Job.body_digest == job.body_digest)
    if job.tries:
        return session.scalar(alike.where(Job.created > time.time() - REPEAT_SECONDS))
    late = session.scalar(alike.where(Job.created > time.time() - LATE_SECONDS, Job.tries > 0))
    if late is not None:
        late.tries = 0  # its first try has come: the next one makes a job of its own
    return late


def create(session: Session, job: Job) -> None:
    """Add a job, which the supervisor takes on from here."""
    session.add(job)
    session.flush()
    tell(session, job.id, "created", f"Created fine-tuning job: {job.id}")


def by_id(session: Session, job_id: str) -> Job | None:
    """A job of whatever project: for who works on it."""
    return session.scalar(select(Job).where(Job.id == job_id))


def by_status(session: Session) -> dict[str, float]:
    """How many jobs of all projects are in each state."""
    counted = session.execute(select(Job.status, func.count()).group_by(Job.status))
    return dict.fromkeys(STATUSES, 0.0) | {status: float(count) for status, count in counted}


def move(session: Session, job_id: str, *, since: Sequence[str], to: str, **values: Any) -> bool:
    """Change a job's state if it is in one of those it may come from; whether it was. `values` go with it. A job that
    runs no more loses its key. Of an end the owner's addresses are told, and those of its project.
    """
    now = time.time()
    if to in ENDED:
        values.setdefault("finished", now)
    wanted = update(Job).where(Job.id == job_id, Job.status.in_(since)).values(status=to, **values)
    project = session.scalar(wanted.returning(Job.project))
    if project is not None and "running" in since:
        session.execute(delete(JobKey).where(JobKey.job_id == job_id))
    if project is not None and to in ENDED:
        webhooks.announce(session, f"fine_tuning.job.{to}", {"id": job_id}, f"evt_{job_id}_{to}", project=project)
    return project is not None


def tell(
    session: Session,
    job_id: str,
    what: str,
    message: str,
    *,
    level: str = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Add an event to a job's history, once for each `what`. With data it is one of type metrics."""
    known = session.scalar(select(JobEvent.number).where(JobEvent.job_id == job_id, JobEvent.what == what))
    if known is None:
        kind = "metrics" if data is not None else "message"
        row = JobEvent(id=ids.new("ftevent-"), job_id=job_id, what=what, message=message, level=level)
        row.type, row.data = kind, data
        session.add(row)


# --- what clients want ---


def want_cancel(session: Session, job_id: str, *, project: str) -> Job:
    """End a job that has not ended: at once where nobody works on it, else `wanted` is cancel.

    Raises NotThere, or RunError when it has ended.
    """
    job = _held(session, job_id, project=project)
    if job.status in ENDED:
        raise _cannot(job, "cancelled")
    return _want(session, job, "cancel", to="cancelled")


def want_pause(session: Session, job_id: str, *, project: str) -> Job:
    """Lay a job aside: at once where nobody works on it, else `wanted` is pause.

    Raises NotThere, or RunError when it has ended, is paused or is to be cancelled.
    """
    job = _held(session, job_id, project=project)
    if job.status in (*ENDED, "paused") or job.wanted == "cancel":
        raise _cannot(job, "paused")
    return _want(session, job, "pause", to="paused")


def _want(session: Session, job: Job, wanted: str, *, to: str) -> Job:
    """Change a job's state at once where nobody works on it, else let its worker know."""
    if job.status == "running":
        job.wanted = wanted
    else:
        _at_once(session, job, to=to, message=f"Fine-tuning job {to}", since=WAITING)
    return job


def resume(session: Session, job_id: str, *, project: str) -> Job:
    """Put a paused job back into the queue, or where its files are checked if it never began.

    Raises NotThere, or RunError when it is not paused; one that is still pausing is running.
    """
    job = _held(session, job_id, project=project)
    if job.status != "paused":
        raise _cannot(job, "resumed")
    to = "validating_files" if job.started is None else "queued"
    _at_once(session, job, to=to, message="Fine-tuning job resumed", since=("paused",))
    return job


def _held(session: Session, job_id: str, *, project: str) -> Job:
    """The job, which no other session changes before this one ends."""
    job = session.scalar(_one(job_id, project).with_for_update())
    if job is None:
        raise NotThere(f"There is no fine-tuning job '{job_id[:80]}'. List those there are.")
    return job


def _at_once(session: Session, job: Job, *, to: str, message: str, since: Sequence[str]) -> None:
    moved = move(session, job.id, since=since, to=to, wanted=None)
    assert moved, "the row is held"
    tell(session, job.id, ids.new(f"{to}-"), message)  # a job may be paused more than once
    session.refresh(job)


def _cannot(job: Job, done: str) -> RunError:
    pausing = " (it is to be paused at its next step)" if job.wanted == "pause" else ""
    found = "to be cancelled at its next step" if job.wanted == "cancel" else f"{job.status}{pausing}"
    remedy = {
        "cancelled": "Only jobs that have not ended can be cancelled",
        "paused": "Only jobs that wait or run can be paused",
        "resumed": "Only paused jobs can be resumed",
    }[done]
    return RunError(f"Fine-tuning job {job.id} cannot be {done}: it is {found}. {remedy}.")
