"""F6, F7: a request to stop saves at once, ends with exit code 75, and costs nothing. Through the command line too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from small_job import KILLED, SECONDS, Job, command, ended, forked

STOPPED = 75


def terminate_at(kind: str, step: int) -> Callable[[dict[str, Any]], None]:
    """A listener that sends SIGTERM to its own process when this event comes."""

    def listen(event: dict[str, Any]) -> None:
        if (event["event"], event.get("step")) == (kind, step):
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


@pytest.mark.parametrize(
    ("kind", "step", "saved"),
    [
        ("step", 1, 1),  # after a step
        ("step", 5, 5),  # inside the look at the validation rows, which follows step 5
        ("validation", 0, 0),  # after the look at the untuned model
        ("validation", 5, 5),  # after a look
        ("checkpoint", 6, 6),  # after a save, at the end of an epoch
    ],
)
def test_a_stop_saves_at_once_and_loses_nothing(
    job: Job, truth: dict[str, Any], kind: str, step: int, saved: int
) -> None:
    assert forked(lambda: job.go_on(listener=terminate_at(kind, step))) == STOPPED
    assert job.checkpoints()[-1].name == f"step-{saved:06d}"
    assert forked(job.go_on) == 0
    assert job.outcome() == truth
    assert job.left_behind() == []


def test_a_stop_while_rows_are_encoded(job: Job, truth: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.objectives.sft import Sft

    encode = Sft.encode

    def stopping(self: Sft, *arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return encode(self, *arguments, **options)

    monkeypatch.setattr(Sft, "encode", stopping)
    assert forked(job.go_on) == STOPPED
    monkeypatch.undo()
    assert job.checkpoints() == []
    assert forked(job.go_on) == 0
    assert job.outcome() == truth


def test_a_kill_in_the_midst_of_the_stop_s_own_save(job: Job, truth: dict[str, Any]) -> None:
    stopping = terminate_at("step", 7)  # the saves before it: 2, 4, 5 and 6
    assert forked(lambda: job.go_on(listener=stopping), fail="save.manifest:5:kill") == KILLED
    assert job.checkpoints()[-1].name == "step-000006"
    assert forked(job.go_on) == 0
    assert job.outcome() == truth
    assert job.left_behind() == []


def test_a_stop_does_not_write_a_whole_checkpoint_again(job: Job) -> None:
    # writing it again would put the only new checkpoint at risk, for nothing
    stopping = terminate_at("checkpoint", 6)
    assert forked(lambda: job.go_on(listener=stopping), fail="save.begin:5:kill") == STOPPED


def test_the_command_line_through_a_stop_and_a_kill(job: Job, truth: dict[str, Any]) -> None:
    arguments = ("train", job.path, "--runs", job.runs)
    process = command(*arguments)
    deadline = time.monotonic() + SECONDS
    while not any(job.run.events("step")):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    code, told = ended(process)
    assert code == STOPPED, told
    assert "goes on" in told
    assert job.run.facts()["state"] == "stopped"
    code, told = ended(command(*arguments, fail="save.manifest:1:kill"))
    assert code == KILLED, told
    code, told = ended(command(*arguments))
    assert code == 0, told
    assert job.outcome() == truth
    assert job.run.facts()["state"] == "done"
    code, told = ended(command(*arguments, "--set", "train.lr=0.02"))
    assert code == 2
    assert "train.lr: 0.01 -> 0.02" in told
    assert "--fresh" in told
