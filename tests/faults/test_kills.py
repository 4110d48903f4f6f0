"""F1 to F4, F15: a process that is killed anywhere, and the same command again, end as if nothing had happened."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
from small_job import EPOCHS, KILLED, NUM_ROWS, PER_EPOCH, TOTAL, Job, forked

from tunewright.core import storage

# Every failpoint of one save, in order; `test_the_failpoints_of_a_save_are_these` keeps the list true.
SAVE_POINTS = [
    "save.begin",
    *(f"save.state.{what}" for what in ("write", "sync", "rename")),
    *(f"save.sync{number}" for number in range(4)),
    "save.manifest",
    *(f"save.manifest.{what}" for what in ("write", "sync", "rename")),
    "save.rename",
    "save.parent",
    "save.purge",
]


def killed(job: Job, point: str, visit: int) -> None:
    """Train until the process dies at a failpoint."""
    assert forked(job.go_on, fail=f"{point}:{visit}:kill") == KILLED


def finished_as(job: Job, truth: dict[str, Any]) -> None:
    """The same command again comes to the same end, and nothing is left behind."""
    assert forked(job.go_on) == 0
    assert job.outcome() == truth
    assert job.left_behind() == []


def test_the_uninterrupted_training_uses_each_row_once_an_epoch(truth: dict[str, Any]) -> None:
    assert [row["step"] for row in truth["ledger"]] == list(range(1, TOTAL + 1))
    seen = Counter(name for row in truth["ledger"] for name in row["ids"])
    assert len(seen) == NUM_ROWS
    assert set(seen.values()) == {EPOCHS}


def test_two_processes_come_to_the_same_bits(job: Job, truth: dict[str, Any]) -> None:
    finished_as(job, truth)


def test_the_failpoints_of_a_save_are_these(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[str] = []
    monkeypatch.setattr(storage, "failpoint", visited.append)
    job.go_on()
    starts = [number for number, name in enumerate(visited) if name == "save.begin"]
    second = [name for name in visited[starts[1] : starts[2]] if name.startswith("save.")]
    assert second == SAVE_POINTS


@pytest.mark.parametrize("point", SAVE_POINTS)
def test_a_kill_at_any_point_of_a_save(job: Job, truth: dict[str, Any], point: str) -> None:
    killed(job, point, 1 if point == "save.purge" else 2)  # the first save has no predecessor to purge
    kept = [folder for folder in job.checkpoints() if storage.damage(folder) is None]
    assert kept, "the first checkpoint, the second, or both are whole"
    assert kept == job.checkpoints(), "a checkpoint's name stands on whole folders only"
    finished_as(job, truth)


STEPS = sorted({1, PER_EPOCH, PER_EPOCH + 1, *random.Random(7).sample(range(2, TOTAL + 1), 2)})


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("point", ["ledger", "events"])
def test_a_kill_in_a_step(job: Job, truth: dict[str, Any], point: str, step: int) -> None:
    killed(job, point, step)
    finished_as(job, truth)


def test_three_kills_in_one_epoch_the_last_in_the_first_step_after_going_on(job: Job, truth: dict[str, Any]) -> None:
    killed(job, "ledger", 4)
    killed(job, "ledger", 2)
    killed(job, "ledger", 1)
    finished_as(job, truth)


def test_a_kill_exactly_at_the_end_of_an_epoch_and_one_step_after(job: Job, truth: dict[str, Any]) -> None:
    killed(job, "ledger", PER_EPOCH + 1)  # the last step of the first epoch is saved, the next is not written
    assert job.checkpoints()[-1].name == f"step-{PER_EPOCH:06d}"
    killed(job, "ledger", 2)  # one step into the second epoch
    finished_as(job, truth)
    seen = Counter(name for row in job.outcome()["ledger"] for name in row["ids"])
    assert set(seen.values()) == {EPOCHS}


def test_the_learning_rate_over_three_kills_is_the_closed_form(job: Job) -> None:
    for visit in (3, 4, 3):
        killed(job, "events", visit)
    assert forked(job.go_on) == 0
    options = job.run.recipe().train
    assert options.schedule == "cosine"
    assert options.lr is not None
    rising = math.ceil(options.warmup * TOTAL)
    for event in job.run.events("step"):
        step = event["step"]
        falling = 0.5 * (1 + math.cos(math.pi * (step - 1 - rising) / (TOTAL - rising)))
        expected = options.lr * (step / (rising + 1) if step <= rising else falling)
        assert abs(event["lr"] - expected) < 1e-12
    assert [event["step"] for event in job.run.events("step")] == list(range(1, TOTAL + 1))


def test_a_torn_ledger_and_torn_events_are_cut(job: Job, truth: dict[str, Any]) -> None:
    killed(job, "ledger", 6)
    for name in ("ledger.jsonl", "events.jsonl"):
        with job.run.path(name).open("a") as file:
            file.write('{"event": "step", "step": 6, "ids": ["trai')
    finished_as(job, truth)
