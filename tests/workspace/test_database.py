"""Sessions keep all or nothing, writers do not overtake each other, and what goes wrong is told in a sentence."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from tunewright.core.errors import NotThere, RecipeError, RunError
from tunewright.workspace import jobs
from tunewright.workspace.database import Database, sqlite_url
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Fact, Job, JobEvent


def a_job(**values: object) -> Job:
    plain = {
        "id": "ftjob-1",
        "model": "nano",
        "base": "nano",
        "run": "r",
        "status": "queued",
        "training_file": "file-1",
    }
    return Job(**(plain | {"seed": 0, "method": {"type": "supervised"}} | values))


def test_a_session_that_raises_keeps_nothing(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "w.sqlite"))
    with pytest.raises(ZeroDivisionError), database.writing() as session:
        session.add(a_job())
        session.flush()
        raise ZeroDivisionError
    with database.reading() as session:
        assert jobs.find(session, "ftjob-1", project="default") is None


def test_what_two_writers_count_is_whole(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "w.sqlite"))
    with database.writing() as session:
        session.add(Fact(name="count", value="0"))

    def add() -> None:
        for _ in range(20):
            with database.writing() as session:
                fact = session.get_one(Fact, "count")
                fact.value = str(int(fact.value) + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.get_one(Fact, "count").value == "80"


def test_a_state_moves_once_and_only_from_where_it_may(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "w.sqlite"))
    with database.writing() as session:
        session.add(a_job())
        session.flush()
        assert jobs.move(session, "ftjob-1", since=["queued"], to="running", worker_pid=7)
        assert not jobs.move(session, "ftjob-1", since=["queued"], to="running", worker_pid=8)
        assert jobs.move(session, "ftjob-1", since=["running"], to="failed", error={"code": "x"})
    with database.reading() as session:
        job = jobs.find(session, "ftjob-1", project="default")
        assert job is not None and (job.status, job.worker_pid, job.error) == ("failed", 7, {"code": "x"})
        assert job.finished is not None
        assert jobs.find(session, "ftjob-1", project="another") is None


def test_the_same_thing_is_told_once(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "w.sqlite"))
    for message in ("first", "again after a crash"):
        with database.writing() as session:
            jobs.tell(session, "ftjob-1", "step-3", message, data={"step": 3})
    with database.reading() as session:
        (event,) = session.scalars(select(JobEvent))
        assert (event.message, event.type, event.data) == ("first", "metrics", {"step": 3})


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "w.sqlite"))
    with database.writing() as session:
        session.get_one(Fact, "version").value = "999"
    with pytest.raises(RunError, match="tables 999"):
        Database(sqlite_url(tmp_path / "w.sqlite"))


def test_a_database_that_cannot_be_opened_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="cannot be opened"):
        Database(sqlite_url(tmp_path / "missing" / "w.sqlite"))
    with pytest.raises(NotThere) as refused:
        Database("postgresql+psycopg://somebody:secret@127.0.0.1:1/none")
    assert "secret" not in str(refused.value)


def test_a_workspace_is_made_where_it_is_opened(tmp_path: Path) -> None:
    place = Workspace.open(tmp_path)
    assert place.runs == tmp_path / "runs" and place.config.models == {"nano": "nano"}
    assert Workspace.open(tmp_path / ".tunewright").folder == tmp_path
    (place.state / "workspace.yaml").write_text("organisation: us\njobs: {at_once: -1}\n", encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        Workspace.open(tmp_path)
    assert len(refused.value.problems) == 2 and "Did you mean 'organization'?" in str(refused.value)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("engine: {key: sesame}", "engine.key: must be env:NAME"),
        ("engine: {url: localhost:8000}", "engine.url: must begin with http"),
        ("webhooks: [{url: 'https://a@b.c/d', secret: 'env:S'}]", "must hold no user"),
        ("webhooks: [{url: 'https://b.c/d', secret: sesame}]", "must be env:NAME"),
        ("graders: {endpoint: {url: 'https://', key: 'env:S'}}", "must begin with http"),
    ],
)
def test_secrets_are_named_and_addresses_hold_none(tmp_path: Path, config: str, told: str) -> None:
    (tmp_path / ".tunewright").mkdir()
    (tmp_path / ".tunewright" / "workspace.yaml").write_text(config, encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        Workspace.open(tmp_path)
    assert told in str(refused.value)
