"""Whose turn it is, and that a job has one worker: attempts that were given up change nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from tunewright.core.errors import Stopped
from tunewright.workspace import jobs, queue
from tunewright.workspace.database import Database, sqlite_url
from tunewright.workspace.queue import Hold, Waiting, turn
from tunewright.workspace.tables import Job, JobEvent


def waiting(**numbers: list[int]) -> list[Waiting]:
    """Jobs of each key, by their numbers."""
    return [Waiting(f"{key}{number}", key, number) for key, own in numbers.items() for number in own]


def test_the_key_with_the_fewest_running_jobs_goes_first() -> None:
    found = turn(waiting(a=[1, 2], b=[3]), {"a": 2, "b": 1}, {"a": 5.0, "b": 9.0})
    assert found is not None and found.id == "b3"


def test_of_keys_with_as_many_the_one_that_waited_longest_goes_first() -> None:
    rows = waiting(a=[1], b=[2], c=[3])
    found = turn(rows, {}, {"a": 7.0, "b": 6.0, "c": 8.0})
    assert found is not None and found.id == "b2"
    found = turn(rows, {}, {"a": 7.0, "b": 6.0})
    assert found is not None and found.id == "c3", "it never had a turn"


def test_jobs_of_one_key_go_in_the_order_they_came() -> None:
    found = turn(waiting(a=[4, 2, 3]), {}, {})
    assert found is not None and found.id == "a2"
    assert turn([], {}, {}) is None


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_hundred_jobs_of_one_key_do_not_starve_another(at_once: int) -> None:
    rows = waiting(a=list(range(100)), b=[100, 101, 102])
    running: list[str] = []
    served: dict[str, float] = {}
    order = []
    while rows:
        if len(running) == at_once:
            running.pop(0)
        found = turn(rows, Counter(running), served)
        assert found is not None
        rows.remove(found)
        running.append(found.key)
        served[found.key] = float(len(order))
        order.append(found.key)
    assert [place for place, key in enumerate(order) if key == "b"][-1] <= 5, "every other turn is theirs"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(sqlite_url(tmp_path / "w.sqlite"))
    with found.writing() as session:
        for number, key in enumerate(("a", "a", "b"), start=1):
            about = {"model": "nano", "base": "nano", "run": f"r{number}", "training_file": "f", "seed": 0}
            method = {"type": "supervised"}
            session.add(Job(id=f"ftjob-{number}", key_id=key, status="queued", method=method, **about))
    return found


def one(database: Database, job_id: str = "ftjob-1") -> Job:
    with database.reading() as session:
        found = jobs.by_id(session, job_id)
    assert found is not None
    return found


def take(database: Database, job_id: str = "ftjob-1") -> int | None:
    with database.writing() as session:
        return queue.take(session, job_id, host="here")


def test_the_queue_reads_turns_from_the_database(database: Database) -> None:
    taken = []
    for _ in range(3):
        with database.writing() as session:
            job_id = queue.next_job(session)
            assert job_id is not None and queue.take(session, job_id, host="here") == 1
            taken.append(job_id)
    assert taken == ["ftjob-1", "ftjob-3", "ftjob-2"]
    with database.reading() as session:
        assert queue.next_job(session) is None


def test_a_job_is_taken_once(database: Database) -> None:
    assert take(database) == 1 and take(database) is None
    job = one(database)
    assert (job.status, job.worker_host, job.wanted) == ("running", "here", None)
    assert job.started is not None and job.lease is not None and job.lease > job.started


@pytest.mark.parametrize(("wanted", "state"), [("cancel", "cancelled"), ("pause", "paused"), (None, "queued")])
def test_a_job_that_is_let_go_becomes_what_was_wanted(database: Database, wanted: str | None, state: str) -> None:
    take(database)
    with database.writing() as session:
        job = session.scalar(select(Job).where(Job.id == "ftjob-1"))
        assert job is not None
        job.wanted = wanted
    with database.writing() as session:
        assert queue.let_go(session, "ftjob-1", 1)
        assert not queue.let_go(session, "ftjob-1", 1), "nobody holds it"
    job = one(database)
    assert (job.status, job.wanted, job.lease) == (state, None, None)
    assert (job.finished is not None) == (state == "cancelled")


def test_an_attempt_that_was_given_up_changes_nothing(database: Database) -> None:
    take(database)
    with database.writing() as session:
        assert queue.let_go(session, "ftjob-1", 1)
    assert take(database) == 2
    with database.writing() as session:
        assert queue.renew(session, "ftjob-1", 1, worked=5.0) is None
        assert not queue.let_go(session, "ftjob-1", 1)
        assert not queue.fail(session, "ftjob-1", 1, code="x", message="y")
        assert not queue.died(session, "ftjob-1", 1, reached="", why="")
    with pytest.raises(Stopped, match="given up"), Hold(database, "ftjob-1", 1).writing():
        pass
    with Hold(database, "ftjob-1", 2).writing() as (_, job):
        assert job.seconds == 0.0


def test_workers_that_die_without_getting_further_end_the_job(database: Database) -> None:
    where = ["prepare", "prepare", "choose", "choose", "choose"]
    for attempt, reached in enumerate(where, start=1):
        assert one(database).status == "queued" and take(database) == attempt
        with database.writing() as session:
            assert queue.died(session, "ftjob-1", attempt, reached=reached, why="Exit code -9.")
    job = one(database)
    assert job.status == "failed" and job.finished is not None
    assert job.error is not None and job.error["code"] == "worker_died" and job.error["param"] is None
    assert "died 3 times" in job.error["message"] and job.error["message"].endswith("Exit code -9.")
    with database.reading() as session:
        told = session.scalars(select(JobEvent).where(JobEvent.job_id == "ftjob-1", JobEvent.level == "error")).one()
    assert told.message.startswith("The job failed: ")
