"""Keys of jobs that run: with one a job asks the server that it works for. They are kept as other keys are, by their
digest, and go with the job's run of the queue (workspace/jobs.py). They are in no list, and do not lock a workspace.
"""

from __future__ import annotations

import glob
import hmac
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunewright.workspace import ids, keys
from tunewright.workspace.tables import Job, JobKey

PREFIX = "tw-job-"  # tells it from other keys before it is looked up


def create(session: Session, job: Job, models: Sequence[str]) -> str:
    """Make the key of a job that was taken, in place of an earlier one. models: all that it may ask."""
    secret = ids.new(PREFIX)
    models = [glob.escape(model) for model in models]  # names, not globs
    session.merge(JobKey(job_id=job.id, project=job.project, digest=keys.digest(secret), models=models))
    return secret


def find(session: Session, secret_digest: str) -> JobKey | None:
    """The key of this digest."""
    row = session.scalar(select(JobKey).where(JobKey.digest == secret_digest))
    return row if row is not None and hmac.compare_digest(row.digest, secret_digest) else None
