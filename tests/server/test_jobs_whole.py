"""A real server with real workers: killed in the middle, both of them, it goes on and loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from job_place import JobPlace
from server_process import start
from sqlalchemy import select

from tunewright.core.run import is_alive
from tunewright.server.order import ADDRESS, KEY
from tunewright.workspace.tables import JobKey

from .conftest import Place, make_base
from .shop import JUDGED

GIVEN = "a-key-of-the-start"
ROWS = [{"messages": [{"role": "user", "content": f"colour {n}"}], "colour": "blue"} for n in range(4)]
JUDGE = {"type": "score_model", "name": "judged", "model": "judge"}
NEAR = {"type": "text_similarity", "name": "near", "evaluation_metric": "fuzzy_match", "reference": "{{item.colour}}"}
GRADERS = {
    "judged": JUDGE | {"input": [{"role": "user", "content": "{{item.colour}}? {{sample.output_text}}"}]},
    "near": NEAR | {"input": "{{sample.output_text}}"},
}
GRADER = {"type": "multi", "name": "both", "graders": GRADERS, "calculate_output": "(judged + near) / 2"}
NUMBERS = {"n_epochs": 10, "batch_size": 2, "compute_multiplier": 0.25}  # two steps an epoch, two answers to a prompt


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_that_asks_its_server_survives_kills_of_both(tmp_path: Path) -> None:
    make_base(tmp_path / "tiny")
    here = JobPlace.make(tmp_path / "place", tmp_path / "tiny")
    Place(here.place.runs, tmp_path / "tiny").release("judge", 21, kind="choices", labels=JUDGED)
    file = here.upload(ROWS)

    def steps() -> int:
        return sum(event.type == "metrics" for event in here.events(name))

    def keys() -> list[JobKey]:
        with here.place.database.reading() as session:
            return list(session.scalars(select(JobKey)))

    def given() -> tuple[str, str]:
        """The address and the key that the worker was handed."""
        found = psutil.Process(int(here.job(name).worker_pid or 0)).environ()
        return found[ADDRESS], found[KEY]

    server = start(tmp_path, [], tmp_path / "first.log", workspace=str(here.place.folder))
    try:
        made = server.client().fine_tuning.jobs.create(
            model="tiny",
            training_file=file,
            suffix="desk",
            method={"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": NUMBERS}},
        )
        name = made.id
        assert made.status == "validating_files"
        wait_for(lambda: steps() >= 2)
        worker, first = here.job(name), given()
        assert first[0] == f"{server.url}/v1" and [row.job_id for row in keys()] == [name]
        server.stop(signal.SIGKILL)
        wait_for(lambda: here.job(name).status == "queued")  # the worker has seen it, saved and let the job go
        assert not is_alive(int(worker.worker_pid or 0), worker.worker_born) or steps() < 20
        assert keys() == []
        before = steps()
        server = start(tmp_path, [], tmp_path / "second.log", workspace=str(here.place.folder), keys=[GIVEN])
        wait_for(lambda: here.job(name).attempts == 2 and here.job(name).worker_pid and steps() > before)
        second = here.job(name)
        assert second.status == "running"
        os.kill(int(second.worker_pid or 0), signal.SIGKILL)
        wait_for(lambda: here.job(name).attempts == 3 and here.job(name).worker_pid)
        third = given()
        assert third[0] == f"{server.url}/v1" and third[1] != first[1]
        wait_for(lambda: here.job(name).status == "succeeded")
        client = server.client(GIVEN)
        done = client.fine_tuning.jobs.retrieve(name)
        checkpoints = client.fine_tuning.jobs.checkpoints.list(name).data
        told = client.fine_tuning.jobs.list_events(name, limit=200).data[-1]
        wait_for(lambda: "ended with 0" in (tmp_path / "second.log").read_text())  # by itself, though it takes a while
        with_key = {"authorization": f"Bearer {third[1]}"}
        wait_for(lambda: httpx.get(f"{server.url}/v1/models", headers=with_key).status_code == 401)
    finally:
        server.stop()
    metrics = [(event.data or {})["step"] for event in here.events(name) if event.type == "metrics"]
    assert metrics == list(range(1, 21))
    assert [row["step"] for row in here.run(name).events("step")] == metrics
    assert done.fine_tuned_model in here.models(name) and done.trained_tokens and done.finished_at
    assert [row.step_number for row in checkpoints] == [20, 18, 16]
    assert all(row.metrics.train_loss and row.fine_tuned_model_checkpoint in here.models(name) for row in checkpoints)
    assert told.message == f"Created fine-tuning job: {name}"
    assert keys() == []
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert first[1].encode() not in content and third[1].encode() not in content, path
