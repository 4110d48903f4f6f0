"""F8 to F12: a full, damaged, closed or crowded disk. What was saved before stays whole, and the user is told."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_job import KILLED, Job, command, ended, forked

import tunewright as tw
from tunewright.core import storage
from tunewright.core.errors import CheckpointError, RunBusy, RunError
from tunewright.core.run import Run


@pytest.fixture
def halfway(job: Job) -> Job:
    """Killed in step 8: checkpoints of the steps 5 (the best so far) and 6 are there."""
    assert forked(job.go_on, fail="ledger:8:kill") == KILLED
    assert [folder.name for folder in job.checkpoints()] == ["step-000005", "step-000006"]
    return job


def warnings(job: Job) -> list[str]:
    """What the run's events warn of."""
    return [event["message"] for event in job.run.events("warning")]


# --- full ---


@pytest.mark.parametrize(
    "point", ["save.begin", "save.state.write", "save.sync2", "save.manifest.write", "save.rename"]
)
def test_a_full_disk_keeps_what_was_saved(
    job: Job, truth: dict[str, Any], point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_visits", {})
    monkeypatch.setenv("TUNEWRIGHT_FAIL", f"{point}:2:full")
    with pytest.raises(
        CheckpointError, match=r"disk is full: step-000004 .* [\d,]+ bytes free .* run the same command"
    ):
        job.go_on()
    assert [folder.name for folder in job.checkpoints()] == ["step-000002"]
    assert storage.damage(job.checkpoints()[0]) is None
    assert job.left_behind() == []
    monkeypatch.delenv("TUNEWRIGHT_FAIL")
    assert forked(job.go_on) == 0
    assert job.outcome() == truth


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[Path]:
    """A file system of 800 KB."""
    folder = tmp_path / "tight"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    gc.collect()  # the session maps its rows from there, and its replaced method ties it to itself
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(frozen: Job, tight: Path) -> None:
    job = frozen.copied(tight / "runs")
    filler = tight / "filler"

    def fill(session: Any) -> None:
        save = session._save

        def save_then_fill() -> None:
            save()
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(b"x" * 800_000)
            os.truncate(filler, filler.stat().st_size - 24_576)  # room for events and for half a checkpoint

        session._save = save_then_fill

    with pytest.raises(CheckpointError, match="disk is full: step-000004"):
        job.go_on(fill)
    assert [folder.name for folder in job.checkpoints()] == ["step-000002"]
    assert storage.damage(job.checkpoints()[0]) is None
    assert job.left_behind() == []


def test_a_full_disk_does_not_hide_its_own_error(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.stages import flow

    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    run = job.run
    monkeypatch.setattr(run, "update", full)
    with pytest.raises(CheckpointError, match="a clear error"), flow.recorded(run):
        raise CheckpointError("a clear error")


def test_a_disk_that_fills_while_the_ledger_is_written(
    job: Job, truth: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_visits", {})
    monkeypatch.setenv("TUNEWRIGHT_FAIL", "ledger:5:full")
    with pytest.raises(OSError, match="No space left"):
        job.go_on()
    monkeypatch.delenv("TUNEWRIGHT_FAIL")
    assert forked(job.go_on) == 0
    assert job.outcome() == truth


# --- damaged ---


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    """Lose the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FILES = ["model/adapter_model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    halfway: Job, truth: dict[str, Any], file: str, harm: Any
) -> None:
    harm(halfway.checkpoints()[-1] / file)
    assert forked(halfway.go_on) == 0
    assert halfway.outcome() == truth
    assert [event["step"] for event in halfway.run.events("resume")] == [5]
    told = warnings(halfway)
    assert len(told) == 1
    assert "step-000006 is damaged" in told[0]
    assert file in told[0]


def test_every_byte_of_a_manifest_is_guarded(halfway: Job) -> None:
    folder = halfway.checkpoints()[-1]
    path = folder / "manifest.json"
    whole = path.read_text()
    facts = storage.read_json(path)
    for key in ("recipe", "training_data"):
        path.write_text(whole.replace(facts[key], facts[key][::-1]))
        assert storage.damage(folder) == "manifest.json has changed since it was written"
    path.write_text(whole)
    assert storage.damage(folder) is None


def test_without_a_whole_checkpoint_training_starts_over(halfway: Job, truth: dict[str, Any]) -> None:
    for folder in halfway.checkpoints():
        flip(folder / "optimizer.safetensors")
    assert forked(halfway.go_on) == 0
    assert halfway.outcome() == truth
    assert len(warnings(halfway)) == 2


def test_a_damaged_result_is_not_used(uninterrupted: Job, tmp_path: Path) -> None:
    from tunewright.core.report import Report
    from tunewright.stages import tuned

    job = uninterrupted.copied(tmp_path / "runs")
    Report(stage="train", run="job", numbers={"checkpoint": job.checkpoints()[-1].name}).save(job.run.path("train"))
    assert tuned.trained_folder(job.run).is_dir()
    flip(job.checkpoints()[-1] / "model" / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"step-000012 .*adapter_model.safetensors has changed"):
        tuned.trained_folder(job.run)


# --- closed ---


def test_a_folder_that_cannot_be_written_fails_before_the_data_is_read(frozen: Job, tmp_path: Path) -> None:
    # a file stands where a folder is needed: unlike permission bits, this stops the superuser too
    for name in ("runs/job", "runs/job/checkpoints"):
        place = tmp_path / name.replace("/", "-")
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text("")
        with pytest.raises(RunError, match=r"cannot be written .*--runs"):
            tw.train(frozen.recipe, runs=place / "runs")
        assert not list(place.rglob("events.jsonl"))


def test_a_read_only_file_system(frozen: Job, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a read-only file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with pytest.raises(RunError, match=r"cannot be written .Read-only file system"):
            tw.train(frozen.recipe, runs=place / "runs")
    finally:
        subprocess.run(["umount", place], check=True)


# --- crowded ---


def test_leftovers_of_dead_processes_are_swept(halfway: Job, truth: dict[str, Any]) -> None:
    home = halfway.run.path("checkpoints")
    for name in (".step-000008.0badcafe.tmp", ".step-000004.0badcafe.old"):
        (home / name / "model").mkdir(parents=True)
        (home / name / "model" / "part").write_text("half")
    assert forked(halfway.go_on) == 0
    assert halfway.outcome() == truth
    assert halfway.left_behind() == []


def test_a_second_worker_is_refused_with_the_first_one_s_process(job: Job) -> None:
    with job.run.working("train"):
        with pytest.raises(RunBusy, match=f"process {os.getpid()} on"), Run(job.run.folder).working("train"):
            raise AssertionError("two workers at once")
        code, told = ended(command("train", job.path, "--runs", job.runs))
    assert code == 2
    assert f"process {os.getpid()} on" in told
    assert "Traceback" not in told
    with job.run.working("train"):
        pass  # free again


def test_a_run_whose_worker_died_is_free(job: Job) -> None:
    def die() -> None:
        with job.run.working("train"):
            job.run.log("step")

    assert forked(die, fail="events:1:kill") == KILLED
    assert job.run.facts()["state"] == "running"
    with job.run.working("train"):
        pass


def test_a_killed_worker_that_nobody_reaped_is_dead() -> None:
    from tunewright.core import run

    worker = subprocess.Popen(["sleep", "60"])
    born = run.born(worker.pid)
    assert run.is_alive(worker.pid, born)
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # left as it lies: in a container often for ever
    assert born is None or not run.is_alive(worker.pid, born)
    worker.wait()


def test_fresh_is_refused_while_another_process_works(job: Job) -> None:
    with job.run.working("train"):
        job.run.update(pid=os.getppid(), born=None)
        with pytest.raises(RunBusy):
            Run.begin(job.recipe, runs=job.runs, fresh=True)
    assert job.run.path("recipe.yaml").exists()
