"""Fine-tuning jobs in the database: their states, the queue, what is told of them.

A job goes validating_files -> queued -> running -> succeeded | failed | cancelled. `paused` stands between running and
queued. What a client wants of a running job (cancel, pause) is written in `wanted`, and the worker obeys. Every change
of state is one conditional UPDATE: of two that try the same, one wins and the other is told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tunewright.workspace import ids
from tunewright.workspace.tables import Job, JobEvent

STATUSES = ("validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled")
ENDED = ("succeeded", "failed", "cancelled")


def find(session: Session, job_id: str, *, project: str) -> Job | None:
    """A job of a project by its id."""
    return session.scalar(select(Job).where(Job.id == job_id, Job.project == project))


def move(session: Session, job_id: str, *, since: Sequence[str], to: str, **values: Any) -> bool:
    """Change a job's state if it is in one of those it may come from; whether it was. `values` go with it."""
    now = time.time()
    if to in ENDED:
        values.setdefault("finished", now)
    wanted = update(Job).where(Job.id == job_id, Job.status.in_(since)).values(status=to, **values)
    return bool(session.execute(wanted.returning(Job.number)).first())


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
