"""F31: whoever works on a job is killed anywhere, and the next worker ends it as if nothing had happened.

The rows of the database and the run's folder agree at the end: one model, one result file, each thing told once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_place import JobPlace, chats, supervised
from small_job import KILLED, forked
from sqlalchemy import func, select

from tunewright.core import storage
from tunewright.server import supervisor
from tunewright.server.validating import validate
from tunewright.workspace import queue
from tunewright.workspace.tables import Checkpoint, File, Model

EPOCHS = 4
# Every failpoint of a job's own work, in order; `test_the_failpoints_of_a_job_are_these` keeps the list true. What the
# stages write has its own tests.
POINTS = [
    "job.validated",
    "job.queued",
    "job.begin",
    "job.files",
    *["job.checkpoint"] * EPOCHS,
    "job.result",
    "job.done",
]
RELEASED = [
    "checkpoint_release.begin",
    "checkpoint_release.manifest",
    "checkpoint_release.rename",
    "checkpoint_release.parent",
]


@pytest.fixture(scope="module")
def here(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> JobPlace:
    return JobPlace.make(tmp_path_factory.mktemp("jobs"), tiny("llama"))


def apart(here: JobPlace, work: Callable[[], Any], *, fail: str = "") -> int:
    """Do the work in a process of its own, with connections of its own; the exit code."""

    def begin() -> None:
        here.place.database.engine.dispose(close=False)
        work()

    return forked(begin, fail=fail)


def put(here: JobPlace) -> str:
    return here.queued(chats(8), validation=chats(3, start=50), method=supervised(n_epochs=EPOCHS, batch_size=3))


def outcome(here: JobPlace, job_id: str) -> dict[str, Any]:
    """Everything about a job's end that must not depend on kills, without the names that differ between jobs."""
    job, run = here.job(job_id), here.run(job_id)
    (file_id,) = job.result_files
    releases = run.releases()[-1:]
    return {
        "status": job.status,
        "tokens": job.trained_tokens,
        "method": job.method,
        "results": (here.place.files / file_id).read_text(),
        "told": [(event.what, event.data) for event in here.events(job_id) if not event.what.startswith("queued-")][
            2:-2
        ],
        "checkpoints": [(row.step, row.metrics) for row in here.checkpoints(job_id)],
        "adapters": [
            storage.sha256(folder / "adapter" / "adapter_model.safetensors")
            for folder in [*sorted(run.path("checkpoint_releases").glob("step-*")), *releases]
        ],
        "models": sorted(name.rpartition(":ckpt-")[2][-8:] for name in here.models(job_id) if ":ckpt-" in name),
        "left": [path.name for path in run.folder.rglob("*") if path.suffix in (".tmp", ".old")],
    }


@pytest.fixture(scope="module")
def truth(here: JobPlace) -> dict[str, Any]:
    """A job that nobody disturbed."""
    name = put(here)
    assert apart(here, lambda: here.work(name)) == 0
    return outcome(here, name)


def died(here: JobPlace, job_id: str, attempt: int) -> None:
    """What the supervisor does after a death."""
    with here.place.database.writing() as session:
        queue.died(session, job_id, attempt, reached=supervisor.reached(here.run(job_id)), why="It was killed.")


def killed(here: JobPlace, job_id: str, fail: str) -> None:
    """A worker takes the job and dies at a failpoint."""
    attempt = here.take(job_id)
    assert apart(here, lambda: here.work(job_id, attempt), fail=f"{fail}:kill") == KILLED
    died(here, job_id, attempt)


def finished_as(here: JobPlace, job_id: str, truth: dict[str, Any]) -> None:
    attempt = here.take(job_id)
    assert apart(here, lambda: here.work(job_id, attempt)) == 0, here.job(job_id).error
    assert here.job(job_id).status == "succeeded"
    assert outcome(here, job_id) == truth
    with here.place.database.reading() as session:
        assert session.scalar(select(func.count()).where(Model.name == here.job(job_id).fine_tuned_model)) == 1
        assert session.scalar(select(func.count()).where(File.id == here.job(job_id).result_files[0])) == 1


def test_the_failpoints_of_a_job_are_these(here: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[str] = []
    monkeypatch.setattr(storage, "failpoint", visited.append)
    assert here.work(put(here)) == 0
    assert [name for name in visited if name.startswith("job.")] == POINTS
    assert {*RELEASED} <= {*visited}


def test_a_job_whose_workers_die_at_every_point_ends_as_if_nothing_had_happened(
    here: JobPlace, truth: dict[str, Any]
) -> None:
    name = put(here)
    for point in ("job.begin:1", "job.files:1", "checkpoint_release.rename:1", "job.checkpoint:1"):
        killed(here, name, point)
    for point in ("checkpoint_release.parent:1", "save.parent:1", "job.checkpoint:2", "job.result:1"):
        killed(here, name, point)
    finished_as(here, name, truth)
    assert here.job(name).attempts == 9


def test_a_kill_after_the_end_changes_nothing(here: JobPlace, truth: dict[str, Any]) -> None:
    name = put(here)
    attempt = here.take(name)
    assert apart(here, lambda: here.work(name, attempt), fail="job.done:1:kill") == KILLED
    died(here, name, attempt)
    assert here.job(name).status == "succeeded" and outcome(here, name) == truth


@pytest.mark.parametrize("point", ["job.validated", "job.queued"])
def test_a_kill_while_files_are_looked_at(here: JobPlace, point: str) -> None:
    name = here.put(chats(3))
    assert apart(here, lambda: validate(here.place, name), fail=f"{point}:1:kill") == KILLED
    assert here.job(name).status == ("queued" if point == "job.queued" else "validating_files")
    assert apart(here, lambda: validate(here.place, name)) == 0
    assert here.job(name).status == "queued"
    assert [event.what for event in here.events(name)] == ["validating-training", "validated"]


def test_a_worker_that_was_given_up_writes_nothing_more(here: JobPlace) -> None:
    name = put(here)
    late = here.take(name)
    with here.place.database.writing() as session:
        queue.let_go(session, name, late)
    assert here.take(name) == late + 1
    told = len(here.events(name))
    assert apart(here, lambda: here.work(name, late)) == 0  # it has stopped by itself
    job = here.job(name)
    assert (job.status, job.attempts, len(here.events(name))) == ("running", late + 1, told)
    with here.place.database.reading() as session:
        assert session.scalar(select(func.count()).where(Checkpoint.job_id == name)) == 0


def test_two_workers_are_never_on_one_run(here: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.core.errors import RunBusy
    from tunewright.core.run import Run
    from tunewright.server import working

    name = put(here)
    attempt = here.take(name)
    monkeypatch.setattr(working, "_BUSY_SECONDS", 0.0)
    run = here.run(name)
    run.path("checkpoints").mkdir(parents=True)
    with Run(run.folder).held(), pytest.raises(RunBusy):
        here.work(name, attempt)
    assert here.job(name).status == "running", "the supervisor decides what comes of a death"
