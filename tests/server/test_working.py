"""What a job does from its files to its model, in this process, on a tiny base."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_place import ANSWERS, JobPlace, chats, supervised
from sqlalchemy import select, update

from tunewright.core import storage
from tunewright.models.release import check_release, open_release
from tunewright.server.order import ADDRESS, KEY
from tunewright.server.working import STOPPED
from tunewright.workspace.tables import File, Job


@pytest.fixture(scope="module")
def here(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> JobPlace:
    return JobPlace.make(tmp_path_factory.mktemp("jobs"), tiny("llama"), config="organization: us\n")


@pytest.fixture(scope="module")
def done(here: JobPlace) -> str:
    """A job that has succeeded; its training file was deleted while it waited."""
    name = here.queued(chats(10), validation=chats(4, start=50), suffix="desk", method=supervised(n_epochs=4))
    job = here.job(name)
    with here.place.database.writing() as session:
        session.execute(update(File).where(File.id == job.training_file).values(deleted=1.0))
    (here.place.files / job.training_file).unlink()
    assert here.work(name) == 0, here.job(name).error
    return name


def test_a_job_ends_with_a_model_and_a_result_file(here: JobPlace, done: str) -> None:
    job = here.job(done)
    name = f"ft:tiny:us:desk:{done[6:14]}"
    assert (job.status, job.fine_tuned_model, job.error) == ("succeeded", name, None)
    assert (job.wanted, job.lease, job.estimated_finish) == (None, None, None)
    assert job.started is not None and job.finished is not None and job.finished > job.started
    trained = here.run(done).report("train")
    assert trained is not None and job.trained_tokens == trained.numbers["tokens"] > 0
    with here.place.database.reading() as session:
        (file_id,) = job.result_files
        file = session.scalars(select(File).where(File.id == file_id)).one()
    content = (here.place.files / file_id).read_bytes()
    assert (file.purpose, file.bytes) == ("fine-tune-results", len(content))
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    steps = {row["step"]: row for row in here.run(done).events("step")}
    assert [int(row["step"]) for row in rows] == list(steps)
    for row in rows:
        assert float(row["train_loss"]) == pytest.approx(steps[int(row["step"])]["loss"], abs=1e-6)
        assert float(row["train_accuracy"]) == pytest.approx(steps[int(row["step"])]["token_accuracy"], abs=1e-6)
    looks = {str(row["step"]): row for row in here.run(done).events("validation")}
    assert {row["step"] for row in rows if row["valid_loss"]} == looks.keys() - {"0"}


def test_the_history_tells_each_step_once(here: JobPlace, done: str) -> None:
    told = here.events(done)
    assert [event.message for event in told[:4]] == [
        f"Validating training file: {here.job(done).training_file}",
        f"Validating validation file: {here.job(done).validation_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert [event.message for event in told[-2:]] == [
        f"New fine-tuned model created: {here.job(done).fine_tuned_model}",
        "The job has successfully completed",
    ]
    metrics = [event.data or {} for event in told if event.type == "metrics"]
    assert [row["step"] for row in metrics] == list(range(1, 13)) and {row["total_steps"] for row in metrics} == {12}
    last = metrics[-1]
    assert last["full_valid_loss"] == last["valid_loss"] > 0 and 0 <= last["valid_mean_token_accuracy"] <= 1
    assert "valid_loss" not in metrics[0], "no look followed the first step"


def test_the_last_three_epochs_can_be_asked(here: JobPlace, done: str) -> None:
    model = here.job(done).fine_tuned_model
    checkpoints = here.checkpoints(done)
    assert [row.step for row in checkpoints] == [6, 9, 12]
    assert [row.model for row in checkpoints] == [f"{model}:ckpt-step-{step}" for step in (6, 9, 12)]
    for row in checkpoints:
        assert row.metrics["step"] == row.step and row.metrics["full_valid_loss"] > 0
        assert "total_steps" not in row.metrics
    models = here.models(done)
    assert models.keys() == {model, *(row.model for row in checkpoints)}
    for row in models.values():
        checked = check_release(here.place.runs / row.folder)
        assert checked.has_adapter and checked.decode.kind == "generate" and row.base == "tiny"
    left = sorted(path.name for path in here.run(done).path("checkpoint_releases").iterdir())
    assert left == ["step-000006", "step-000009", "step-000012"]


def test_a_checkpoint_holds_the_weights_of_its_step(here: JobPlace, done: str) -> None:
    for step in (9, 12):
        folder = here.run(done).path("checkpoints", f"step-{step:06d}", "model")
        row = here.models(done)[f"{here.job(done).fine_tuned_model}:ckpt-step-{step}"]
        released = here.place.runs / row.folder / "adapter"
        assert storage.sha256(released / "adapter_model.safetensors") == storage.sha256(
            folder / "adapter_model.safetensors"
        )
    opened = open_release(here.place.runs / row.folder)
    assert opened.adapter and opened.manifest["step"] == 12


def test_the_release_says_that_nothing_was_graded(here: JobPlace, done: str) -> None:
    manifest = storage.read_json(here.run(done).releases()[-1] / "manifest.json")
    assert (manifest["verdict"], manifest["scores"]) == ("GO", {})
    assert manifest["reason"].startswith("Nothing was graded")


def test_auto_is_answered_with_the_numbers_that_were_taken(here: JobPlace) -> None:
    asked = {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    name = here.queued(chats(9), method={"type": "supervised", "supervised": {"hyperparameters": asked}})
    assert here.work(name) == 0
    chosen = here.run(name).recipe().train
    shown = here.job(name).method["supervised"]["hyperparameters"]
    assert shown == {"n_epochs": 1, "batch_size": chosen.batch, "learning_rate_multiplier": 1.0}
    assert len(here.run(name).split("train")) == 9, "all rows are learned from"
    assert here.run(name).report("prepare").numbers["rows"]["test"] == 0  # type: ignore[union-attr]


def test_a_preference_job(here: JobPlace) -> None:
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"question {n}"}], "tools": []},
            "preferred_output": [{"role": "assistant", "content": "yes"}],
            "non_preferred_output": [{"role": "assistant", "content": "no"}],
        }
        for n in range(6)
    ]
    method = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "batch_size": 3, "beta": 0.3}}}
    name = here.queued(rows, method=method)
    assert here.work(name) == 0, here.job(name).error
    assert here.run(name).recipe().the_objective().model_dump()["beta"] == 0.3
    metrics = [event.data or {} for event in here.events(name) if event.type == "metrics"]
    assert [row["step"] for row in metrics] == [1, 2] and "train_accuracy" in metrics[0]
    assert "train_mean_token_accuracy" not in metrics[0], "it is not measured where pairs are learned"


def test_a_reinforcement_job(here: JobPlace) -> None:
    rows = [{"messages": [{"role": "user", "content": f"question {n}"}], "answer": ANSWERS[n % 3]} for n in range(4)]
    grader = {"type": "text_similarity", "name": "near", "evaluation_metric": "fuzzy_match"}
    grader |= {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    numbers = {"n_epochs": 1, "batch_size": 2, "compute_multiplier": 0.5, "eval_interval": 2}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": numbers}}
    name = here.queued(rows, method=method)
    assert here.work(name) == 0, here.job(name).error
    metrics = [event.data or {} for event in here.events(name) if event.type == "metrics"]
    assert [row["step"] for row in metrics] == [1, 2] and 0 <= metrics[0]["train_mean_reward"] <= 1
    messages = [event.message for event in here.events(name) if event.type == "metrics"]
    assert messages[0].startswith(f"Step 1/2: training mean reward={metrics[0]['train_mean_reward']:.2f}")
    [first, *_] = csv.DictReader((here.place.files / here.job(name).result_files[0]).read_text().splitlines())
    assert float(first["train_mean_reward"]) == metrics[0]["train_mean_reward"]
    assert here.run(name).recipe().monitor.reference == "train", "there are no test rows to compare traffic with"
    shown = here.job(name).method["reinforcement"]
    assert shown["grader"] == grader
    assert shown["hyperparameters"] == numbers | {
        "learning_rate_multiplier": 1.0, "eval_samples": 1, "reasoning_effort": "default",
    }  # fmt: skip


def test_a_job_that_waits_for_a_model_that_grades_saves_and_stops(
    here: JobPlace, model_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, model_server.url)
    monkeypatch.setenv(KEY, "the-key-of-the-job")
    rows = [{"messages": [{"role": "user", "content": f"question {n}"}]} for n in range(4)]
    grader = {"type": "score_model", "name": "judged", "model": "tiny"}
    grader |= {"input": [{"role": "user", "content": "{{sample.output_text}}"}]}
    numbers = {"n_epochs": 2, "batch_size": 2, "compute_multiplier": 0.25, "eval_interval": 4}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": numbers}}
    model_server.answer = lambda body: json.dumps({"result": len(body["messages"][-1]["content"]) % 7 / 7})
    name = here.queued(rows, method=method)
    stop, attempt, real = threading.Event(), here.take(name), storage.append_jsonl

    def stop_once_asked() -> None:
        while len(model_server.faults) == 100:
            time.sleep(0.01)
        stop.set()

    def append(path: Path, row: dict[str, Any], *, point: str = "append") -> None:
        real(path, row, point=point)
        if row.get("event") == "step" and row["step"] == 3:
            model_server.faults = [(429, {"retry-after": "50"}, "")] * 100
            threading.Thread(target=stop_once_asked).start()

    with monkeypatch.context() as patch:
        patch.setattr(storage, "append_jsonl", append)
        assert here.work(name, attempt, stop=stop) == STOPPED
    assert here.run(name).path("checkpoints", "step-000003").exists()
    model_server.faults = []
    assert here.work(name) == 0, here.job(name).error
    assert [row["step"] for row in here.run(name).events("step")] == [1, 2, 3, 4]
    assert {asked["model"] for asked in model_server.asked} == {"tiny"}
    assert {sent["authorization"] for sent in model_server.headers} == {"Bearer the-key-of-the-job"}
    assert model_server.url not in here.run(name).path("recipe.yaml").read_text()


def test_a_reward_that_never_differs_is_told(here: JobPlace) -> None:
    rows = [{"messages": [{"role": "user", "content": f"question {n}"}]} for n in range(2)]
    grader = {"type": "string_check", "name": "right", "operation": "eq", "input": "a", "reference": "b"}
    numbers = {"n_epochs": 1, "batch_size": 2, "compute_multiplier": 0.25}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": numbers}}
    name = here.queued(rows, method=method)
    assert here.work(name) == 2
    error = here.job(name).error
    assert (
        error is not None and error["code"] == "unusable_data" and "earned the same reward (0 to 0)" in error["message"]
    )


def test_a_job_goes_on_from_a_tuned_model(here: JobPlace, done: str) -> None:
    tuned = str(here.job(done).fine_tuned_model)
    name = here.queued(chats(8, start=20), model=tuned, base=tuned, method=supervised(n_epochs=1))
    assert here.work(name) == 0, here.job(name).error
    job = here.job(name)
    assert job.fine_tuned_model == f"ft:tiny:us::{name[6:14]}"
    assert here.run(name).recipe().model.start == str(here.run(done).releases()[-1] / "adapter")
    first = next(iter(here.run(name).events("step")))["loss"]
    assert first < next(iter(here.run(done).events("step")))["loss"], "it begins with what was learned"


def test_a_stopped_job_goes_on_from_its_checkpoint(here: JobPlace) -> None:
    name = here.queued(chats(12), method=supervised(n_epochs=3))
    stop, attempt = threading.Event(), here.take(name)
    here.want(name, "pause")
    seen: list[int] = []
    real = storage.append_jsonl

    def append(path: Path, row: dict[str, Any], *, point: str = "append") -> None:
        real(path, row, point=point)
        if row.get("event") == "step":
            seen.append(row["step"])
            if row["step"] == 4:
                stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "append_jsonl", append)
        assert here.work(name, attempt, stop=stop) == STOPPED
    assert seen == [1, 2, 3, 4], "the stop takes effect within a step"
    assert (here.job(name).status, here.job(name).wanted) == ("paused", None)
    with here.place.database.writing() as session:
        session.execute(update(Job).where(Job.id == name).values(status="queued"))
    assert here.work(name) == 0
    assert here.job(name).attempts == 2
    assert [row["step"] for row in here.run(name).events("step")] == list(range(1, 10))
    metrics = [event.data or {} for event in here.events(name) if event.type == "metrics"]
    assert [row["step"] for row in metrics] == list(range(1, 10))


def test_a_job_whose_model_is_gone_fails(here: JobPlace) -> None:
    name = here.queued(chats(5))
    with here.place.database.writing() as session:
        session.execute(update(Job).where(Job.id == name).values(base="ft:tiny:us::gone"))
    assert here.work(name) == 2
    job = here.job(name)
    assert job.status == "failed" and job.error is not None and job.error["code"] == "not_found"


def test_steps_go_to_the_tracker(here: JobPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text(
        "calls = []\n"
        "class Run:\n"
        "    def log(self, values, step): calls.append((step, values))\n"
        "    def finish(self): calls.append('finished')\n"
        "def init(**given):\n"
        "    calls.append(given)\n"
        "    return Run()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = [{"type": "wandb", "wandb": {"project": "desk", "tags": ["a"]}}]
    name = here.queued(chats(6), integrations=asked, method=supervised(n_epochs=1))
    assert here.work(name) == 0
    import wandb  # type: ignore[import-not-found]

    begun, *steps, finished = wandb.calls
    assert (begun["project"], begun["tags"], begun["name"], begun["id"]) == ("desk", ["a"], name, name)
    assert [step for step, _ in steps] == [1, 2] and steps[0][1]["train_loss"] > 0 and finished == "finished"


def test_a_tracker_that_is_not_there_ends_no_job(here: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    name = here.queued(
        chats(6), integrations=[{"type": "wandb", "wandb": {"project": "desk"}}], method=supervised(n_epochs=1)
    )
    assert here.work(name) == 0
    assert [event.level for event in here.events(name) if "Weights & Biases" in event.message] == ["warn"]
