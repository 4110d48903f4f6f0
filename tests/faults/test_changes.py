"""F13, F14: a run that was begun with other data or settings is refused, with each difference named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_job import KILLED, Job, forked, rows, write_job, write_rows

import tunewright as tw
from tunewright.core import storage
from tunewright.core.errors import RunError
from tunewright.stages import flow, proving
from tunewright.stages import train as train_stage


@pytest.fixture(scope="module")
def begun(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job with files of its own, killed after its first checkpoint."""
    folder = tmp_path_factory.mktemp("begun")
    job = Job(write_job(folder, tiny("llama")), folder / "runs")
    tw.choose(job.recipe, runs=job.runs)
    assert forked(job.go_on, fail="ledger:4:kill") == KILLED
    return job


def refused(job: Job, *changes: str) -> str:
    """What a training with these changes is told."""
    before = {path: path.read_bytes() for path in job.run.folder.rglob("*") if path.suffix in (".yaml", ".safetensors")}
    with pytest.raises(RunError) as error:
        tw.train(job.path, runs=job.runs, changes=list(changes))
    assert before == {path: path.read_bytes() for path in before}, "a refusal changes nothing"
    assert "--fresh" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.lr=0.02", "train.lr: 0.01 -> 0.02"),
        ("train.epochs=3", "train.epochs: 2.0 -> 3.0"),
        ("train.batch=8", "train.batch: 7 -> 8"),
        ("method.rank=8", "method.rank: 4 -> 8"),
        ("data.limit=20", "data.limit: None -> 20"),
    ],
)
def test_another_setting_is_refused_by_name(begun: Job, change: str, told: str) -> None:
    assert told in refused(begun, change)


@pytest.mark.parametrize("change", ["row added", "row edited", "row removed"])
def test_other_data_is_refused_by_file_and_taken_when_it_is_put_back(begun: Job, change: str) -> None:
    path = begun.path.parent / "train.jsonl"
    whole = path.read_bytes()
    values = rows(40)
    if change == "row added":
        values += rows(1, start=300)
    elif change == "row removed":
        values.pop()
    else:
        values[7] = {"text": "another question 7", "label": values[7]["label"]}
    write_rows(path, values)
    assert f"the file {path} has changed" in refused(begun)
    path.write_bytes(whole)
    assert tw.choose(begun.path, runs=begun.runs).stage == "choose"


def test_settings_of_later_stages_may_change(begun: Job) -> None:
    report = tw.choose(begun.path, runs=begun.runs, changes=["evaluate.max_new_tokens=5"])
    assert report.stage == "choose"
    assert begun.run.recipe().evaluate.max_new_tokens == 5
    assert begun.run.recipe().train.lr == 0.01


@pytest.mark.parametrize("what", ["recipe", "training data"])
def test_files_of_the_run_that_were_edited_by_hand_are_refused(begun: Job, tmp_path: Path, what: str) -> None:
    job = begun.copied(tmp_path / "runs")
    path = job.run.path("recipe.yaml") if what == "recipe" else job.run.path("data", "train.jsonl")
    old, new = ("lr: 0.01", "lr: 0.02") if what == "recipe" else ("question 7", "question 7 again")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RunError, match=f"made with another {what}"):
        job.go_on()


def test_proofs_measured_before_the_first_checkpoint_are_not_kept(
    job: Job, begun: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a checkpoint is there, another base or method may still be chosen: what was measured may be of the old
    one.
    """

    class Measured(Exception):
        pass

    def measure(*_: Any) -> None:
        raise Measured

    monkeypatch.setattr(proving, "before_training", measure)
    for one, kept in ((job, False), (begun, True)):
        storage.write_json(one.run.path("train", "frozen.json"), {"a": "digest"})
        with pytest.raises(Measured):
            train_stage.train(one.run.recipe(), one.run)
        assert one.run.path("train", "frozen.json").exists() == kept


def test_another_start_is_merged_anew(uninterrupted: Job, job: Job, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from tunewright.stages import tuned

    first, second = uninterrupted.checkpoints()[-1] / "model", tmp_path / "second"
    shutil.copytree(first, second)
    tensors = load_file(second / "adapter_model.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, second / "adapter_model.safetensors")
    digests = []
    for start in (first, second, second):
        tuned.start_options(job.run.recipe().changed("model", start=str(start)), job.run)
        digests.append(storage.sha256(job.run.path("base", "model.safetensors")))
    assert digests[0] != digests[1] == digests[2]


def test_a_key_that_a_newer_version_brings_changes_no_run(begun: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Any] = []
    monkeypatch.setattr(storage, "digest", hashed.append)
    flow._inputs("train", begun.recipe)
    given = json.loads(begun.path.read_text())
    assert hashed[0][0]["train"] == given["train"], "what was given counts, and no default"
