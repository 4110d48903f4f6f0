"""A real server with real workers: killed in the middle, both of them, it goes on and loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from job_place import JobPlace, chats, supervised

from tunewright.core.run import is_alive

from .conftest import start


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_survives_kills_of_its_server_and_of_its_worker(
    tiny: Callable[[str], Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = JobPlace.make(tmp_path / "place", tiny("llama"))
    file = here.upload(chats(12))

    def steps() -> int:
        return sum(event.type == "metrics" for event in here.events(name))

    server = start(tmp_path, [], tmp_path / "first.log", workspace=str(here.place.folder))
    try:
        made = server.client().fine_tuning.jobs.create(
            model="tiny", training_file=file, suffix="desk", method=supervised(n_epochs=40)
        )
        name = made.id
        assert made.status == "validating_files"
        wait_for(lambda: steps() >= 3)
        worker = here.job(name)
        server.stop(signal.SIGKILL)
        wait_for(lambda: here.job(name).status == "queued")  # the worker has seen it, saved and let the job go
        assert not is_alive(int(worker.worker_pid or 0), worker.worker_born) or steps() < 120
        before = steps()
        server = start(tmp_path, [], tmp_path / "second.log", workspace=str(here.place.folder))
        wait_for(lambda: here.job(name).attempts == 2 and here.job(name).worker_pid and steps() > before)
        second = here.job(name)
        if second.status == "running":
            os.kill(int(second.worker_pid or 0), signal.SIGKILL)
        wait_for(lambda: here.job(name).status == "succeeded")
        done = server.client().fine_tuning.jobs.retrieve(name)
        checkpoints = server.client().fine_tuning.jobs.checkpoints.list(name).data
        first = server.client().fine_tuning.jobs.list_events(name, limit=200).data[-1]
        wait_for(lambda: "ended with 0" in (tmp_path / "second.log").read_text())  # by itself, though it takes a while
    finally:
        server.stop()
    metrics = [(event.data or {})["step"] for event in here.events(name) if event.type == "metrics"]
    assert metrics == list(range(1, 121))
    assert [row["step"] for row in here.run(name).events("step")] == metrics
    assert done.fine_tuned_model in here.models(name) and done.trained_tokens and done.finished_at
    assert [row.step_number for row in checkpoints] == [120, 117, 114]
    assert all(row.metrics.train_loss and row.fine_tuned_model_checkpoint in here.models(name) for row in checkpoints)
    assert first.message == f"Created fine-tuning job: {name}"
