"""What clients want of jobs: at once where nobody works on them, else written down for the worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from tunewright.core.errors import NotThere, RunError
from tunewright.workspace import jobs
from tunewright.workspace.database import Database, sqlite_url
from tunewright.workspace.tables import Job, JobEvent

WISHES = {"cancel": jobs.want_cancel, "pause": jobs.want_pause, "resume": jobs.resume}
AFTER = {  # (wish, status) -> (status, wanted); what is not here is refused
    ("cancel", "validating_files"): ("cancelled", None),
    ("cancel", "queued"): ("cancelled", None),
    ("cancel", "paused"): ("cancelled", None),
    ("cancel", "running"): ("running", "cancel"),
    ("pause", "validating_files"): ("paused", None),
    ("pause", "queued"): ("paused", None),
    ("pause", "running"): ("running", "pause"),
    ("resume", "paused"): ("validating_files", None),
}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(sqlite_url(tmp_path / "w.sqlite"))


def put(session: Session, **values: object) -> None:
    plain = {"id": "ftjob-1", "model": "nano", "base": "nano", "run": "r", "training_file": "file-1"}
    session.add(Job(**(plain | {"seed": 0, "method": {"type": "supervised"}} | values)))
    session.flush()


def count(session: Session) -> int:
    return session.scalar(select(func.count(JobEvent.number))) or 0


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("status", jobs.STATUSES)
def test_a_wish_is_carried_out_or_refused_in_every_state(database: Database, wish: str, status: str) -> None:
    with database.writing() as session:
        put(session, status=status)
        if (wish, status) not in AFTER:
            with pytest.raises(RunError, match=f"it is {status}"):
                WISHES[wish](session, "ftjob-1", project="default")
            return
        job = WISHES[wish](session, "ftjob-1", project="default")
        assert (job.status, job.wanted) == AFTER[wish, status]
        assert (job.finished is not None) == (job.status == "cancelled")
        assert count(session) == (0 if job.status == "running" else 1)


def test_a_job_that_has_begun_goes_on_from_the_queue(database: Database) -> None:
    with database.writing() as session:
        put(session, status="paused", started=1.0)
        assert jobs.resume(session, "ftjob-1", project="default").status == "queued"


def test_cancel_overrules_pause_and_not_the_other_way(database: Database) -> None:
    with database.writing() as session:
        put(session, status="running")
        jobs.want_pause(session, "ftjob-1", project="default")
        with pytest.raises(RunError, match="to be paused"):
            jobs.resume(session, "ftjob-1", project="default")
        assert jobs.want_cancel(session, "ftjob-1", project="default").wanted == "cancel"
        with pytest.raises(RunError, match="to be cancelled"):
            jobs.want_pause(session, "ftjob-1", project="default")


def test_each_pause_is_told(database: Database) -> None:
    with database.writing() as session:
        put(session, status="queued")
        for _ in range(2):
            jobs.want_pause(session, "ftjob-1", project="default")
            jobs.resume(session, "ftjob-1", project="default")
        assert count(session) == 4


def test_a_job_of_another_project_is_not_there(database: Database) -> None:
    with database.writing() as session:
        put(session, status="queued")
        for wish in WISHES.values():
            with pytest.raises(NotThere, match="ftjob-1"):
                wish(session, "ftjob-1", project="another")
        assert session.execute(update(Job).where(Job.status == "queued").values(seed=1).returning(Job.id)).all()
