"""Files of new jobs: what can be used goes to the queue, what cannot is named by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from job_place import JobPlace, chats, supervised
from sqlalchemy import update

from tunewright.server.validating import validate
from tunewright.workspace import aliases, files, keys
from tunewright.workspace.tables import File, Job, Model

PAIR = {
    "input": {"messages": [{"role": "user", "content": "one"}]},
    "preferred_output": [{"role": "assistant", "content": "yes"}],
    "non_preferred_output": [{"role": "assistant", "content": "no"}],
}
OLD_PAIR = {
    "input": PAIR["input"],
    "preferred_completion": PAIR["preferred_output"],
    "non_preferred_completion": PAIR["non_preferred_output"],
}
ASKED = {"messages": [{"role": "user", "content": "one"}], "answer": {"text": "two"}}
CHAT = chats(1)[0]


def reinforcement(reference: str, **more: Any) -> dict[str, Any]:
    grader = {"type": "string_check", "name": "right", "operation": "eq", "input": "{{sample.output_text}}"}
    return {"type": "reinforcement", "reinforcement": {"grader": {**grader, "reference": reference, **more}}}


DPO = {"type": "dpo", "dpo": {}}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> JobPlace:
    folder = tmp_path_factory.mktemp("jobs")
    return JobPlace.make(folder, Path("nano"))


@pytest.mark.parametrize(
    ("rows", "method"),
    [
        (chats(3), supervised()),
        ([{"prompt": "one", "completion": "two"}], supervised()),
        ([PAIR, PAIR], DPO),
        ([OLD_PAIR], DPO),
        ([ASKED], reinforcement("{{item.answer.text}}")),
        ([{"messages": ASKED["messages"]}], reinforcement("yes")),
    ],
)
def test_rows_of_each_method_are_taken(here: JobPlace, rows: Any, method: dict[str, Any]) -> None:
    name = here.put(rows, method=method)
    validate(here.place, name)
    job = here.job(name)
    assert (job.status, job.error) == ("queued", None)
    kept = here.run(name).path("files", "training.jsonl")
    assert kept.read_bytes() == (here.place.files / job.training_file).read_bytes()
    assert [event.what for event in here.events(name)] == ["validating-training", "validated"]
    validate(here.place, name)
    assert len(here.events(name)) == 2, "a job that is queued is left alone"


@pytest.mark.parametrize(
    ("rows", "method", "told"),
    [
        ([CHAT, {"messages": [{"role": "user", "content": "x"}]}], supervised(), "line 2: the method 'supervised'"),
        ([CHAT, {"messages": "x"}], supervised(), "line 2: not a list"),
        ([CHAT, {"prompt": "x"}], supervised(), "line 2: missing column: no 'messages'"),
        ('{"messages": [\n' + "not json\n", supervised(), "line 1: not JSON"),
        ("", supervised(), "it has no rows"),
        ([PAIR, {**PAIR, "non_preferred_output": None}], DPO, "line 2: "),
        ([CHAT], DPO, "the method 'dpo' learns from rows with 'input', 'preferred_output'"),
        ([PAIR] * 4, supervised(), "found 'input', 'preferred_output' and 'non_preferred_output' (and 1 more rows)"),
        (
            [CHAT],
            reinforcement("{{item.answer}}"),
            "from rows with 'messages' that end with the user's",
        ),
        ([ASKED, {"messages": ASKED["messages"]}], reinforcement("{{item.answer.text}}"), "line 2: it lacks 'answer'"),
    ],
)
def test_rows_of_no_use_are_named(here: JobPlace, rows: Any, method: dict[str, Any], told: str) -> None:
    name = here.put(rows, method=method)
    validate(here.place, name)
    job = here.job(name)
    assert job.status == "failed" and job.error is not None and job.finished is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_training_file", "training_file")
    assert told in job.error["message"], job.error["message"]
    assert here.events(name)[-1].level == "error"


def test_many_bad_rows_are_counted(here: JobPlace) -> None:
    name = here.put(chats(1), validation=[*chats(2), *[{"messages": []}] * 9])
    validate(here.place, name)
    error = here.job(name).error
    assert error is not None and (error["code"], error["param"]) == ("invalid_validation_file", "validation_file")
    assert "lines 3, 4, 5: empty" in error["message"] and "(and 6 more rows)" in error["message"]


def test_what_the_row_asks_for_must_be_there(here: JobPlace) -> None:
    gone, unknown = here.put(chats(2)), here.put(chats(2), base="ft:nano:us::gone")
    other = here.put(chats(2), project="another")  # its file is of the default project
    (here.place.files / here.job(gone).training_file).unlink()
    for name, code in ((gone, "file_not_found"), (other, "file_not_found"), (unknown, "model_not_found")):
        validate(here.place, name)
        error = here.job(name).error
        assert error is not None and error["code"] == code


def test_a_file_that_is_deleted_before_it_is_looked_at_is_learned_from(here: JobPlace) -> None:
    name = here.put(chats(2))
    with here.place.database.writing() as session:
        session.execute(update(File).where(File.id == here.job(name).training_file).values(deleted=1.0))
    files.sweep(here.place)
    validate(here.place, name)
    assert here.job(name).status == "queued"


@pytest.mark.parametrize(
    ("grader", "told"),
    [
        ({"type": "label_model"}, "label_model rewards nothing"),
        ({"type": "string_check", "name": "s", "input": "a"}, "operation"),
        ({"type": "score_model", "model": "m", "input": [{"role": "user", "content": "a"}]}, "graders.endpoint"),
        (
            {"type": "text_similarity", "input": "a", "reference": "b", "evaluation_metric": "cosine"},
            "graders.encoder",
        ),
    ],
)
def test_a_grader_that_cannot_be_computed_fails_the_job(here: JobPlace, grader: dict[str, Any], told: str) -> None:
    name = here.put([ASKED], method={"type": "reinforcement", "reinforcement": {"grader": grader}})
    validate(here.place, name)
    error = here.job(name).error
    assert error is not None and (error["code"], error["param"]) == ("invalid_method", "method")
    assert told in error["message"]


def test_models_of_the_server_grade_where_the_project_and_the_key_may_ask_them(here: JobPlace) -> None:
    asks = {"type": "score_model", "name": "s", "input": [{"role": "user", "content": "{{sample.output_text}}"}]}
    with here.place.database.writing() as session:
        key = keys.create(session, name="one", models=["t*"]).row.id
        session.add(Model(name="ft:tiny:us::judge", project="theirs", folder="x/releases/001", base="tiny"))
        aliases.put(session, "live", "default", {"tiny": 1.0}, is_model=lambda name: name == "tiny")
    for model, project, key_id, status in (
        ("tiny", "default", key, "queued"),
        ("live", "default", "", "queued"),
        ("live", "default", key, "failed"),
        ("ft:tiny:us::judge", "theirs", "", "queued"),
        ("ft:tiny:us::judge", "default", "", "failed"),
    ):
        method = {"type": "reinforcement", "reinforcement": {"grader": asks | {"model": model}}}
        file = here.upload([ASKED], project=project)
        name = here.put([ASKED], method=method, project=project, key_id=key_id, training_file=file)
        validate(here.place, name)
        assert here.job(name).status == status, here.job(name).error
        if status == "failed":
            assert f"asks the model '{model}', which this server has not" in (here.job(name).error or {})["message"]


def test_what_has_no_effect_is_told(here: JobPlace) -> None:
    for effort, num_told in (("high", 1), ("default", 0)):
        method = reinforcement("x")
        method["reinforcement"]["hyperparameters"] = {"reasoning_effort": effort, "n_epochs": "auto"}
        name = here.put([ASKED], method=method)
        validate(here.place, name)
        assert here.job(name).status == "queued"
        told = [event.message for event in here.events(name) if event.level == "warn"]
        assert len(told) == num_told and all(one.startswith("reasoning_effort has no effect: ") for one in told)


def test_a_job_that_was_cancelled_meanwhile_stays_so(here: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.core import storage

    name = here.put(chats(2))

    def cancel(point: str) -> None:
        if point == "job.validated":
            here.want(name, "cancel")

    monkeypatch.setattr(storage, "failpoint", cancel)
    validate(here.place, name)
    assert here.job(name).status == "cancelled"
    with here.place.database.reading() as session:
        assert session.get(Job, here.job(name).number) is not None
