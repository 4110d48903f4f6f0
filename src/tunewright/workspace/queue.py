"""The queue of fine-tuning jobs: whose turn it is, who works on what, and until when nobody else may.

A worker holds a job by its attempt, a number that grows with each worker. What it writes counts only while the job runs
in that attempt, so that one that was given up for dead cannot disturb its successor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunewright.core.errors import Stopped
from tunewright.workspace import jobs
from tunewright.workspace.database import Database
from tunewright.workspace.tables import Job

LEASE_SECONDS = 30.0
MOST_DEATHS = 3  # of workers, one after the other, while the run gets no further


@dataclass(frozen=True)
class Waiting:
    """A job in the queue. number: grows with the time at which it was made."""

    id: str
    key: str
    number: int


def turn(waiting: Sequence[Waiting], running: Mapping[str, int], served: Mapping[str, float]) -> Waiting | None:
    """Whose turn it is: the key with the fewest running jobs, of several the one whose last job began longest ago (or
    never), and of its jobs the oldest. None where nothing waits.

    running: jobs at work, by key. served: when a key's last job began, in seconds.
    """
    return min(
        waiting,
        key=lambda one: (running.get(one.key, 0), served.get(one.key, float("-inf")), one.number),
        default=None,
    )


def next_job(session: Session) -> str | None:
    """The id of the job whose turn it is."""
    rows = session.execute(select(Job.id, Job.key_id, Job.number).where(Job.status == "queued")).all()
    if not rows:
        return None
    at_work = select(Job.key_id, func.count()).where(Job.status == "running").group_by(Job.key_id)
    began = select(Job.key_id, func.max(Job.started)).group_by(Job.key_id)
    running = {key: count for key, count in session.execute(at_work).all()}
    served = {key: when for key, when in session.execute(began).all() if when is not None}
    chosen = turn([Waiting(*row) for row in rows], running, served)
    return chosen.id if chosen else None


def take(session: Session, job_id: str, *, host: str) -> int | None:
    """Begin to work on a queued job; the attempt, or None where it is not queued any more."""
    now = time.time()
    taken = jobs.move(
        session,
        job_id,
        since=["queued"],
        to="running",
        wanted=None,
        attempts=Job.attempts + 1,
        started=func.coalesce(Job.started, now),
        worker_host=host,
        worker_pid=None,
        worker_born=None,
        lease=now + LEASE_SECONDS,
    )
    if not taken:
        return None
    jobs.tell(session, job_id, "started", "Fine-tuning job started")
    return session.scalar(select(Job.attempts).where(Job.id == job_id))


def held(session: Session, job_id: str, attempt: int) -> Job | None:
    """The job, which no other session changes before this one ends, where the attempt still holds it."""
    return session.scalar(
        select(Job).where(Job.id == job_id, Job.status == "running", Job.attempts == attempt).with_for_update()
    )


def renew(session: Session, job_id: str, attempt: int, *, worked: float) -> Job | None:
    """Hold the job for longer, and count the seconds worked since the last time; None where it is held no more."""
    job = held(session, job_id, attempt)
    if job is not None:
        job.lease = time.time() + LEASE_SECONDS
        job.seconds += worked
    return job


def let_go(session: Session, job_id: str, attempt: int) -> bool:
    """After a clean stop: what the client wanted, else back into the queue. Whether the attempt still held it."""
    job = held(session, job_id, attempt)
    if job is None:
        return False
    to, message = {
        "cancel": ("cancelled", "Fine-tuning job cancelled"),
        "pause": ("paused", "Fine-tuning job paused"),
        None: ("queued", "Fine-tuning job interrupted; it goes on from its last checkpoint"),
    }[job.wanted]
    jobs.move(session, job_id, since=["running"], to=to, wanted=None, lease=None, estimated_finish=None)
    jobs.tell(session, job_id, f"{to}-{attempt}", message, level="warn" if to == "queued" else "info")
    return True


def died(session: Session, job_id: str, attempt: int, *, reached: str, why: str) -> bool:
    """After a worker's death: what the client wanted, else back into the queue, unless workers die again and again
    without getting further. Whether the attempt still held it.

    reached: how far the run is. why: what is known of the death, for the error.
    """
    job = held(session, job_id, attempt)
    if job is None:
        return False
    job.deaths = job.deaths + 1 if job.reached == reached else 1
    job.reached = reached
    if job.wanted is None and job.deaths >= MOST_DEATHS:
        message = f"The job's process died {job.deaths} times in a row without getting further. {why}"
        return fail(session, job_id, attempt, code="worker_died", message=message)
    return let_go(session, job_id, attempt)


def fail(session: Session, job_id: str, attempt: int, *, code: str, message: str, param: str | None = None) -> bool:
    """End a job with an error. Whether the attempt still held it."""
    if held(session, job_id, attempt) is None:
        return False
    end(session, job_id, since="running", code=code, message=message, param=param)
    return True


def end(session: Session, job_id: str, *, since: str, code: str, message: str, param: str | None = None) -> None:
    """End a job that is in a state with an error; nothing where it is not in that state."""
    error: dict[str, Any] = {"code": code, "message": message, "param": param}
    ended = jobs.move(
        session, job_id, since=[since], to="failed", error=error, wanted=None, lease=None, estimated_finish=None
    )
    if ended:
        jobs.tell(session, job_id, "failed", f"The job failed: {message}", level="error")


@dataclass(frozen=True)
class Hold:
    """A worker's hold on a job: what it writes counts only as long as nobody else was given the job."""

    database: Database
    job_id: str
    attempt: int

    @contextmanager
    def writing(self) -> Iterator[tuple[Session, Job]]:
        """A session, with the job. Raises Stopped where the attempt holds the job no more."""
        with self.database.writing() as session:
            job = held(session, self.job_id, self.attempt)
            if job is None:
                raise Stopped(f"Attempt {self.attempt} at job {self.job_id} was given up; nothing more is written.")
            yield session, job
