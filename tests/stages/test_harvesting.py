"""Traffic becomes rows: corrections at once, doubtful answers after a review, and nothing near to what measures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import harvested, storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.example import Example, Message
from tunewright.core.recipe import DataOptions, Recipe
from tunewright.core.traffic import Exchanged
from tunewright.data import intake, sources
from tunewright.privacy import audit_log
from tunewright.server.traffic import open_vault
from tunewright.stages import harvest_queue, harvesting, logged
from tunewright.stages.more_rows import measured
from tunewright.workspace import traffic
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Model

LABELS = ["lost card", "card arrival", "exchange rate"]
TRAIN = [("my card is gone since this morning", "lost card"), ("when will my new card arrive", "card arrival")]
TEST = [("what is the rate for euros on weekends", "exchange rate")]


def labelled(number: int, text: str, label: str) -> dict[str, Any]:
    messages = [Message(role="user", content=text), Message(role="assistant", content=label)]
    return Example(id=f"r:{number}", messages=messages, label=label).to_row()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with a prepared run, its release, and a key for traffic."""
    place = Workspace.open(tmp_path)
    run = place.runs / "desk"
    storage.write_json(run / "run.json", {"name": "desk", "state": "done"})
    for side, rows in (("train", TRAIN), ("validation", []), ("test", TEST)):
        storage.write_jsonl(run / "data" / f"{side}.jsonl", (labelled(n, *row) for n, row in enumerate(rows)))
    decode = {"kind": "choices", "labels": LABELS, "system": "Name the intent."}
    with storage.new_folder(run / "releases" / "001", about={"run": "desk", "release": 1, "decode": decode}) as target:
        (target / "weights").write_text("none")
    open_vault(place)
    yield place
    place.database.close()


@pytest.fixture
def answered(place: Workspace) -> Callable[..., str]:
    """answered(text, answer, correction=..., thumb=...): the id of a logged answer."""
    count = 0

    def log(text: str, answer: str = "lost card", **values: Any) -> str:
        nonlocal count
        count += 1
        said = {name: values.pop(name) for name in ("correction", "thumb", "comment") if name in values}
        plain: dict[str, Any] = {
            "id": f"chatcmpl-{count:03d}", "created": 1e9 + count, "project": "default", "model": "desk",
            "release": "desk:001", "fingerprint": "f", "seconds": 0.1, "prompt_tokens": 1, "completion_tokens": 1,
            "finish": "stop", "confidence": 0.9, "messages": [{"role": "user", "content": text}], "answer": answer,
        }  # fmt: skip
        one = Exchanged(**(plain | values))
        traffic.write(place, [traffic.Entry(one, (traffic.person(traffic.people_key(place), "ann"),))])
        sealer = traffic.sealer_of(place)
        if said and sealer is not None:
            with place.database.writing() as session:
                traffic.add_feedback(
                    session, sealer, id=f"feedback-{count}", traffic_id=one.id, project="default", **said
                )
        return one.id

    return log


def rows(place: Workspace) -> list[Example]:
    path = harvested.rows_file(place.runs / "desk", "001")
    return [Example.model_validate(row) for row in storage.read_jsonl(path)]


def queue(place: Workspace) -> dict[str, harvest_queue.Candidate]:
    return harvest_queue.load(harvested.queue_file(place.runs / "desk", "001"))


def names(report: Any) -> set[str]:
    return {finding.name for finding in report.findings}


def test_corrections_are_rows_and_doubtful_answers_wait(place: Workspace, answered: Callable[..., str]) -> None:
    right = answered("is my plastic on its way", correction="card arrival")
    down = answered("somebody took my wallet", "exchange rate", thumb="down")
    unsure = answered("how much is a pound", confidence=0.3)
    answered("where did i leave my card")
    answered("nothing came of this", "", confidence=0.1, finish="cut")
    far = answered("please sing a song")
    storage.write_json(place.runs / "desk" / "monitor" / "report.json", {"findings": [{"examples": [far]}]})
    report = harvesting.harvest("desk", workspace=place.folder)
    figures = report.numbers
    assert (figures["answers"], figures["candidates"], figures["ready"], figures["waiting"]) == (6, 4, 1, 3)
    assert figures["why"] == {"correction": 1, "thumb_down": 1, "monitored": 1, "low_confidence": 1}
    assert [one.id for one in queue(place).values() if one.decision is None] == [down, unsure, far]
    (row,) = rows(place)
    assert row.meta == {"traffic": right, "release": "desk:001", "why": "correction"}
    assert row.label == row.answer == "card arrival"
    assert [message.role for message in row.messages] == ["system", "user", "assistant"]
    assert report.next == "tunewright harvest desk:001 --review"
    assert harvesting.harvest("desk:001", workspace=place.folder).numbers == figures, "twice is as once"


def test_the_least_sure_wait_and_no_more_than_a_reviewer_can_read(
    place: Workspace, answered: Callable[..., str]
) -> None:
    ids = [answered(f"question {n}", confidence=n / 20) for n in range(8)]
    harvesting.harvest("desk", workspace=place.folder, most=3)
    assert set(queue(place)) == set(ids[:3])
    assert set(queue(place)) == {*harvesting.begin("desk", workspace=place.folder, most=3, days=None).queue}
    harvesting.begin("desk", workspace=place.folder, most=5, days=None)
    assert set(queue(place)) == set(ids[:5])


def test_what_is_near_to_a_test_row_is_left_out_and_told(place: Workspace, answered: Callable[..., str]) -> None:
    near = answered("What is the rate for euros on weekends?", correction="exchange rate")
    answered(TRAIN[0][0], "card arrival", correction=TRAIN[0][1])
    against = answered("My card is gone, since this morning!", correction="card arrival")
    twice = [answered("a question that is asked twice", correction="card arrival") for _ in range(2)]
    report = harvesting.harvest("desk", workspace=place.folder)
    assert [row.id for row in rows(place)] == [against, twice[0]]
    assert {"near_test", "repeated", "contradicts"} <= names(report)
    (told,) = [finding for finding in report.findings if finding.name == "near_test"]
    assert told.severity == "warning" and near in str(told.example)


def test_a_label_that_is_new_waits_for_a_reviewer(place: Workspace, answered: Callable[..., str]) -> None:
    id = answered("my card was eaten by the machine", correction="eaten card")
    report = harvesting.harvest("desk", workspace=place.folder)
    assert rows(place) == [] and "unknown_label" in names(report)
    found = harvesting.begin("desk", workspace=place.folder, days=None)
    assert [one.id for one in found.waiting] == [id]
    found.decide(id, "correct", "eaten card")
    harvesting.settle(found)
    assert [row.label for row in rows(place)] == ["eaten card"]


def test_a_file_is_edited_and_read_back(place: Workspace, answered: Callable[..., str], tmp_path: Path) -> None:
    ids = [answered(f"doubtful question number {word}", thumb="down") for word in ("one", "two", "three", "four")]
    strange = answered("my card was eaten", correction="eaten card")
    harvesting.harvest("desk", workspace=place.folder)
    lines = harvested.queue_file(place.runs / "desk", "001").read_text().splitlines()
    edited = [json.loads(line) for line in lines]
    edited[0]["decision"] = "accept"
    edited[1]["correction"] = "exchange rate"
    edited[2]["decision"] = "skip"
    file = tmp_path / "edited.jsonl"
    storage.write_jsonl(file, edited)
    report = harvesting.harvest("desk", workspace=place.folder, reviewed=file)
    assert {row.id: row.label for row in rows(place)} == {ids[0]: "lost card", ids[1]: "exchange rate"}
    assert (report.numbers["waiting"], report.numbers["skipped"]) == (2, 1)
    assert [one.by for one in queue(place).values()] == ["reviewer", "reviewer", "reviewer", None, None]
    assert queue(place)[strange].correction == "eaten card"
    harvesting.harvest("desk", workspace=place.folder)
    assert len(rows(place)) == 2, "a reviewer's word stands"
    for wrong, told in (({"decision": "maybe"}, "decision"), ({"decision": "correct"}, "empty"), ({"id": "x"}, "x")):
        storage.write_jsonl(file, [edited[3] | {"decision": "accept"} | wrong])
        with pytest.raises((DataError, NotThere), match=told):
            harvesting.harvest("desk", workspace=place.folder, reviewed=file)


def test_answers_without_texts_are_counted(place: Workspace, answered: Callable[..., str]) -> None:
    answered("", messages=None, answer=None, thumb="down")
    report = harvesting.harvest("desk", workspace=place.folder)
    assert report.numbers["candidates"] == 0 and "without_texts" in names(report)


def test_a_tuned_model_is_known_by_all_its_names(place: Workspace, answered: Callable[..., str]) -> None:
    name = "ft:nano:local:desk:abc"
    with place.database.writing() as session:
        session.add(Model(name=name, folder="desk/releases/001", base="nano"))
    answered("asked by its run", correction="lost card")
    answered("asked by its model's name", correction="card arrival", release=name)
    for asked in (name, "desk:1", "desk"):
        assert harvesting.harvest(asked, workspace=place.folder).numbers["ready"] == 2
    assert len(logged.logged(name, workspace=place.folder).numbers["releases"]) == 2
    with pytest.raises(NotThere, match="no run 'none'"):
        harvesting.harvest("none", workspace=place.folder)


def test_the_next_recipe_reads_the_rows(place: Workspace, answered: Callable[..., str]) -> None:
    folder = place.folder
    values = {"name": "next", "data": {"sources": ["train.csv", "traffic:desk:001"], "more": ["traffic:desk"]}}
    (folder / "train.csv").write_text("text,label\nhello,lost card\n")
    with pytest.raises(NotThere, match="tunewright harvest desk:001"):
        sources.files(Recipe.parse(values, folder=folder).data.sources)
    id = answered("is my plastic on its way", correction="card arrival")
    harvesting.harvest("desk", workspace=folder)
    data = Recipe.parse(values, folder=folder).data
    assert sources.files(data.sources) == [
        str(folder / "train.csv"),
        str(harvested.rows_file(place.runs / "desk", "001")),
    ]
    found: list[Example] = []
    files = sources.files(data.sources)
    options = DataOptions(sources=data.sources, fields={"prompt": "text", "label": "label"}, system="Other.")
    intake.take(files, options, sources.names(files), intake.Taker(keep=found.append))
    assert [(row.id, row.label) for row in found] == [("train:2", "lost card"), ("desk-001:1", "card arrival")]
    assert found[1].meta["traffic"] == id and found[1].messages[0].content == "Name the intent."
    assert [row.label for row in measured(data.more, {})] == ["card arrival"]


def test_rows_that_were_edited_wrongly_are_put_aside(tmp_path: Path) -> None:
    good = labelled(1, "a", "b") | {"meta": {"traffic": "chatcmpl-1"}}
    storage.write_jsonl(tmp_path / "rows.jsonl", [good, good | {"labell": "b"}])
    aside: list[dict[str, Any]] = []
    files = [str(tmp_path / "rows.jsonl")]
    taken = intake.take(files, DataOptions(sources=files), sources.names(files), intake.Taker(put_aside=aside.append))
    assert (taken.usable, taken.bad) == (1, 1) and "labell" in aside[0]["reason"]


def test_traffic_is_told_exported_and_forgotten(place: Workspace, answered: Callable[..., str]) -> None:
    ids = [answered(f"question {n}", thumb="up", correction="lost card") for n in range(3)]
    harvesting.harvest("desk", workspace=place.folder)
    report = logged.logged("desk", workspace=place.folder, rows=2, out=place.folder / "out.jsonl")
    (one,) = report.numbers["releases"]
    assert (one["release"], one["answers"], one["up"], one["corrected"]) == ("desk:001", 3, 3, 3)
    assert [row["id"] for row in report.numbers["rows"]] == ids[1:] and "messages" not in report.numbers["rows"][0]
    assert "question" not in (place.folder / "out.jsonl").read_text()
    told = logged.logged(workspace=place.folder, texts=True, out=place.folder / "texts.jsonl")
    assert "in_plain" in names(told) and "question 2" in (place.folder / "texts.jsonl").read_text()
    with pytest.raises(NotThere, match="desk:001"):
        logged.logged("dusk", workspace=place.folder)
    waits = answered("nobody decided of this", thumb="down")
    harvesting.harvest("desk", workspace=place.folder)
    gone = logged.forget(ids=[ids[0], waits], workspace=place.folder)
    assert gone.numbers["forgotten"] == 2 and gone.numbers["harvested"] == [ids[0]]
    assert [row.id for row in rows(place)] == list(queue(place)) == ids[1:]
    assert logged.forget(users=["nobody"], workspace=place.folder).numbers["forgotten"] == 0
    assert logged.forget(users=["ann"], workspace=place.folder).numbers["forgotten"] == 2
    assert logged.logged(workspace=place.folder).numbers["releases"] == []
    records = audit_log.records(place.runs / audit_log.NAME)
    assert [record.counts["answers"] for record in records] == [2, 0, 2]
    assert ids[0] not in (place.runs / audit_log.NAME).read_text()


def test_forgetting_a_row_takes_it_out_of_harvests_and_runs(place: Workspace, answered: Callable[..., str]) -> None:
    from tunewright.stages.forgetting import forget

    id, other = (answered(f"about {word}", correction="lost card") for word in ("a stolen purse", "an empty wallet"))
    harvesting.harvest("desk", workspace=place.folder)
    (kept,) = [row for row in rows(place) if row.id == id]
    storage.append_jsonl(place.runs / "desk" / "data" / "train.jsonl", kept.model_copy(update={"id": "x:1"}).to_row())
    report = forget(where=f"{harvested.ORIGIN}={id}", runs=place.runs, yes=True)
    assert report.numbers["rows"] == 1
    assert [row.id for row in rows(place)] == [other]
    for path in (place.runs / "desk").rglob("*.json*"):
        assert "stolen purse" not in path.read_text(), path


def logged_line(id: str, text: Any, answer: str, **beside: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer, "refusal": None}}
    request = {"model": "desk", "messages": [{"role": "user", "content": text}]}
    return {"id": id, "request": request, "response": {"model": "desk", "choices": [choice]}, **beside}


def test_a_file_of_logged_requests_is_harvested_like_traffic(
    place: Workspace, answered: Callable[..., str], tmp_path: Path
) -> None:
    answered("what the workspace logged", correction="lost card")
    parts = [{"type": "text", "text": "where is my card, write to ada@lovelace-engines.co.uk"}]
    lines = [
        logged_line("a", parts, "lost card", correction="card arrival", comment="says ada@lovelace-engines.co.uk"),
        logged_line("b", "somebody took my wallet", "exchange rate", thumb="down"),
        logged_line("c", "how much is a pound", "exchange rate", confidence=0.2, created="2001-01-01"),
        logged_line("d", "where did i leave my card", "lost card", confidence=0.9),
        logged_line("e", {"not": "a text"}, "lost card", thumb="down"),
        logged_line("f", TEST[0][0], "lost card", correction=TEST[0][1]),
        {**logged_line("g", "x", "y"), "response": None, "error": "timeout"},
    ]
    file = tmp_path / "answers.jsonl"
    storage.write_jsonl(file, lines)
    report = harvesting.harvest("desk", workspace=place.folder, traffic=file)
    figures = report.numbers
    assert (figures["answers"], figures["candidates"], figures["ready"], figures["waiting"]) == (6, 4, 1, 2)
    assert {"unfit", "unanswered", "near_test"} <= names(report)
    (row,) = rows(place)
    assert (row.id, row.label) == ("a", "card arrival") and row.messages[1].content.startswith("where is my card, ")
    for path in (place.runs / "desk" / "feedback").iterdir():
        assert "lovelace" not in path.read_text(), path
    before = queue(place)
    assert (
        harvesting.harvest("desk", workspace=place.folder, traffic=file).numbers == figures and queue(place) == before
    )
    assert harvesting.begin("desk", workspace=place.folder, days=9000, traffic=file).counts["answers"] == 0
    done = subprocess.run(
        [sys.executable, "-m", "tunewright.cli", "harvest", "desk", "--traffic", str(file), "--review"],
        input="s\nq\n", capture_output=True, text=True, cwd=place.folder,
    )  # fmt: skip
    assert done.returncode == 0 and "1 wait for a reviewer, 1 skipped" in done.stdout, done.stderr
    with pytest.raises(NotThere, match="no file"):
        harvesting.harvest("desk", workspace=place.folder, traffic=tmp_path / "none.jsonl")


def test_commands_walk_through_what_waits(place: Workspace, answered: Callable[..., str]) -> None:
    ids = [answered(f"doubtful question number {word}", thumb="down") for word in ("one", "two", "three", "four")]

    def run(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tunewright.cli", *words, "--workspace", str(place.folder)],
            input=said, capture_output=True, text=True, cwd=place.folder,
        )  # fmt: skip

    done = run("harvest", "desk", "--review", said="\na\nc\nexchange rate\ns\nq\n")
    assert done.returncode == 0, done.stderr
    assert "called wrong by a user" in done.stdout and "2 rows ready, 1 wait for a reviewer" in done.stdout
    assert {row.id: row.label for row in rows(place)} == {ids[0]: "lost card", ids[1]: "exchange rate"}
    told = json.loads(run("harvest", "desk", "--json").stdout)
    assert (told["numbers"]["ready"], told["numbers"]["skipped"]) == (2, 1)
    shown = run("traffic", "desk", "--rows", "1", "--texts")
    assert "4 down" in shown.stdout and "user: doubtful question number four" in shown.stdout
    assert run("traffic", "--forget", ids[0], "--json").returncode == 0
    assert json.loads(run("traffic", "--json").stdout)["numbers"]["releases"][0]["answers"] == 3
    assert run("traffic", "desk", "--forget", ids[1]).returncode == 2
