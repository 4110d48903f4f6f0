"""A model writes rows, and only those are kept that can be read, are new, rest on their source and measure nowhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError, EndpointError, NotThere, RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import synthesizing
from tunewright.stages.prepare import prepare
from tunewright.stages.synthesizing import synthesize

THINGS = ["cards", "loans", "phones", "parcels", "tickets", "invoices", "contracts", "transfers"]
ADJECTIVES = ["red", "blue", "old", "heavy", "broken", "foreign", "tiny", "golden", "wooden", "cheap"]
NOUNS = ["table", "river", "window", "garden", "ticket", "engine", "letter", "bottle", "camera", "island"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fresh_words(number: int) -> str:
    """A text that shares few words with that of another number."""
    a, b, c = number % 10, number // 10 % 10, number // 100 % 10
    return f"{ADJECTIVES[a]} {NOUNS[b]} with {ADJECTIVES[(a + c + 3) % 10]} {NOUNS[(b * 3 + a) % 10]} number{number}"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "faq"
    folder.mkdir()
    for number, thing in enumerate(THINGS):
        text = f"All {thing} are sent within {number + 2} working days. Lost {thing} can be blocked at any time."
        (folder / f"{thing}.md").write_text(text)
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"please tell me about the {thing} of {n} friends", "label": thing} for thing in THINGS[:3]
            for n in range(2, 6)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def endpoint(server: Any, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "model": "tiny", "at_once": 3, **more}


def about_passages(body: dict[str, Any]) -> str:
    """A model that writes one good pair, one that is not in the passage, and one that speaks of it."""
    passage = body["messages"][-1]["content"]
    found = re.search(r"All (\w+) are sent within (\d+) working days\.", passage)
    assert found is not None
    thing, days = found.groups()
    good = {"question": f"How long do {thing} take to be sent?", "answer": f"Within {days} working days.",
            "quote": found.group()}  # fmt: skip
    false = {**good, "question": f"What do {thing} cost here?", "answer": "They cost 17 crowns a month."}
    points = {**good, "question": f"What does the passage say about {thing}?"}
    return "Here you go:\n" + json.dumps([good, false, points])


def test_pairs_from_documents_rest_on_their_passage(model_server: Any, documents: Path, tmp_path: Path) -> None:
    model_server.answer = about_passages
    out = tmp_path / "qa.jsonl"
    report = synthesize(documents, out, {"num": 8, "endpoint": endpoint(model_server), "system": "Be brief."})
    rows = rows_of(out)
    assert report.numbers["rows"] == len(rows) == 8
    assert {row["meta"]["gold"] for row in rows} == set(THINGS)
    for row in rows:
        thing = row["meta"]["gold"]
        assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
        assert thing in row["messages"][1]["content"]
        assert row["messages"][2]["content"] == f"Within {THINGS.index(thing) + 2} working days."
        assert row["meta"]["made"] == {"by": "documents", "from": thing, "model": "tiny", "seed": 0}
    refused = report.numbers["refused"]
    assert refused["not in the passage"] >= 8
    assert refused["speaks of its passage"] >= 8
    assert report.numbers["questions"] == len(model_server.asked)
    assert report.numbers["prompt_tokens"] > 0
    assert len({row["id"] for row in rows}) == 8


def test_messages_for_labels_are_new_and_even(model_server: Any, labelled: Path, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        first = len(model_server.asked) * 10
        shown = re.search(r"^- (.*)$", body["messages"][-1]["content"], re.MULTILINE)
        assert shown is not None
        return json.dumps([*(fresh_words(first + n) for n in range(5)), shown.group(1), "hi", "x " * 200, 7])

    model_server.answer = answer
    out = tmp_path / "more.jsonl"
    report = synthesize(labelled, out, {"num": 30, "endpoint": endpoint(model_server, at_once=1), "near": 0.9})
    rows = rows_of(out)
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == set(THINGS[:3])
    assert max(counts.values()) - min(counts.values()) <= 8
    assert all(row["messages"][-1]["content"] == row["label"] for row in rows)
    refused = report.numbers["refused"]
    assert refused["repeats another"] >= 5
    assert refused["too short or too long"] >= 10
    assert refused["unreadable"] >= 5


def test_seeds_give_new_tasks_with_answers(model_server: Any, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    given = [{"prompt": f"Write a {word} poem about a {noun}.", "completion": f"O {noun}!"}
             for word, noun in zip(ADJECTIVES, NOUNS, strict=True)]  # fmt: skip
    seeds.write_text("".join(json.dumps(row) + "\n" for row in given))

    def answer(body: dict[str, Any]) -> str:
        if "Reply with a JSON list" in body["messages"][0]["content"]:
            number = int(body["seed"]) % 1000
            tasks = [{"instruction": f"Explain the {fresh_words(number * 7 + n)}", "input": ""} for n in range(3)]
            return json.dumps(
                [*tasks, {"instruction": "Draw a picture of a house"}, {"instruction": given[0]["prompt"]}]
            )
        said = body["messages"][-1]["content"]
        return said if said.endswith("0") else f"An answer to: {said}"

    model_server.answer = answer
    out = tmp_path / "made.jsonl"
    report = synthesize(seeds, out, {"num": 12, "endpoint": endpoint(model_server)})
    rows = rows_of(out)
    assert len(rows) == 12
    assert all(row["messages"][1]["content"] == f"An answer to: {row['messages'][0]['content']}" for row in rows)
    assert set(rows[0]["meta"]["made"]["from"]) <= {f"seeds:{n}" for n in range(1, 11)}
    assert report.numbers["refused"]["needs more than text"] >= 3
    assert report.numbers["refused"]["repeats another"] >= 3


def test_a_second_answer_must_agree_where_a_grader_compares(model_server: Any, labelled: Path, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        if "Which label fits" in body["messages"][0]["content"]:
            return "loans" if "number" in body["messages"][-1]["content"][-3:] else THINGS[0]
        first = len(model_server.asked) * 10
        return json.dumps([fresh_words(first + n) for n in range(8)])

    model_server.answer = answer
    out = tmp_path / "more.jsonl"
    report = synthesize(labelled, out, {"num": 9, "endpoint": endpoint(model_server), "grader": "exact"})
    assert {row["label"] for row in rows_of(out)} == {THINGS[0]}
    assert report.numbers["refused"]["grader exact"] > 0
    assert rows_of(out)[0]["meta"]["made"]["grade"] == {"exact": 1.0}


def test_a_grader_of_form_sees_the_answer_that_was_written(model_server: Any, documents: Path, tmp_path: Path) -> None:
    model_server.answer = about_passages
    out = tmp_path / "qa.jsonl"
    grader = {"kind": "regex", "pattern": r"\b[2-5] working"}
    report = synthesize(documents, out, {"num": 8, "endpoint": endpoint(model_server), "grader": grader})
    assert {row["meta"]["gold"] for row in rows_of(out)} == set(THINGS[:4])
    assert report.numbers["refused"]["grader regex"] == 4
    told = next(finding for finding in report.findings if finding.name == "fewer_rows")
    assert "brought no row" in told.message


def test_nothing_near_to_a_test_row_is_written(model_server: Any, documents: Path, tmp_path: Path) -> None:
    model_server.answer = about_passages
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"prompt": "how long do CARDS take to be sent", "completion": "x"}) + "\n")
    out = tmp_path / "qa.jsonl"
    report = synthesize(documents, out, {"num": 8, "endpoint": endpoint(model_server)}, test=[str(test)])
    assert {row["meta"]["gold"] for row in rows_of(out)} == set(THINGS) - {"cards"}
    assert report.numbers["refused"]["near to a test row"] == 1


def test_a_budget_ends_it_and_nothing_is_paid_for_twice(model_server: Any, documents: Path, tmp_path: Path) -> None:
    model_server.answer = about_passages
    out = tmp_path / "qa.jsonl"
    values = {"num": 8, "endpoint": endpoint(model_server, prices={"input": 10, "output": 20}, at_once=1)}
    report = synthesize(documents, out, values | {"money": 0.025})
    spent = report.numbers["money"]
    assert 0 < spent <= 0.025
    assert spent == pytest.approx(
        report.numbers["prompt_tokens"] * 10e-6 + report.numbers["completion_tokens"] * 20e-6, abs=1e-6
    )
    told = next(finding for finding in report.findings if finding.name == "fewer_rows")
    assert "budget of 0.025 is used up" in told.message
    assert 0 < report.numbers["rows"] == len(rows_of(out)) < 8
    asked = [body["messages"] for body in model_server.asked]
    out.unlink()
    assert synthesize(documents, out, values).numbers["rows"] == 8
    messages = [json.dumps(body["messages"]) for body in model_server.asked[len(asked) :]]
    assert not {json.dumps(one) for one in asked} & set(messages)


def test_a_failure_loses_no_reply_and_the_same_call_goes_on(model_server: Any, documents: Path, tmp_path: Path) -> None:
    model_server.answer = about_passages
    out = tmp_path / "qa.jsonl"
    values = {"num": 8, "endpoint": endpoint(model_server, at_once=1)}
    real = model_server.answer
    model_server.answer = lambda body: _broken_after(model_server, real, body, 2)
    with pytest.raises(EndpointError, match="the key was taken back"):
        synthesize(documents, out, values)
    assert not out.exists()
    kept = rows_of(tmp_path / "qa.jsonl.replies.jsonl")
    assert len(kept) == 2
    model_server.answer, before = real, len(model_server.asked)
    assert synthesize(documents, out, values).numbers["rows"] == 8
    again = [json.dumps(body["messages"]) for body in model_server.asked[before:]]
    assert not {json.dumps(row["messages"]) for row in kept} & set(again)


def _broken_after(server: Any, answer: Any, body: dict[str, Any], good: int) -> str:
    if len(server.asked) == good:
        server.faults = [(401, {}, json.dumps({"error": {"message": "the key was taken back"}}))]
    return str(answer(body))


def test_the_replies_do_not_hang_on_their_order(model_server: Any, documents: Path, tmp_path: Path) -> None:
    model_server.answer = about_passages
    found = []
    for at_once in (1, 6):
        out = tmp_path / f"{at_once}.jsonl"
        synthesize(documents, out, {"num": 8, "endpoint": endpoint(model_server, at_once=at_once)})
        found.append(out.read_text())
    assert found[0] == found[1]


def test_a_base_of_ours_may_write_although_little_comes_of_it(tiny: Any, documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "qa.jsonl"
    document = documents / f"{THINGS[0]}.md"
    report = synthesize(document, out, {"num": 1, "model": str(tiny("llama"))})
    assert report.numbers["rows"] == 0
    assert report.numbers["refused"]["unreadable"] == report.numbers["questions"] > 0
    assert report.numbers["completion_tokens"] > 0


def test_what_was_written_is_learned_from_and_never_measured_on(
    model_server: Any, documents: Path, tmp_path: Path
) -> None:
    model_server.answer = about_passages
    out = tmp_path / "qa.jsonl"
    synthesize(documents, out, {"num": 8, "endpoint": endpoint(model_server)})
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"prompt": fresh_words(n), "completion": "yes"}) + "\n" for n in range(30)))
    recipe = Recipe.parse({"name": "r", "data": {"sources": [str(own)], "more": [str(out)]}}, folder=tmp_path)
    run = Run.begin(recipe, runs=tmp_path / "runs")
    report = prepare(recipe, run)
    assert report.numbers["more"]["made"] == 8
    ids = {name: {example.id for example in run.split(name)} for name in ("train", "validation", "test")}
    written = {row["id"] for row in rows_of(out)}
    assert written <= ids["train"]
    assert not written & (ids["validation"] | ids["test"])


@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        ({}, RecipeError, "give an endpoint .url and model., or a model of ours"),
        ({"endpoint": {"url": "http://a/v1"}}, RecipeError, "endpoint.model is missing"),
        ({"endpoint": {"url": "a", "model": "m"}}, RecipeError, "must begin with http"),
        ({"model": "nano", "money": 1}, RecipeError, "needs the endpoint's prices"),
        ({"model": "nano", "grader": "exactly"}, RecipeError, "Did you mean 'exact'"),
        ({"model": "nano", "kind": "labels"}, NotThere, "no run and no file"),
        ({"model": "no-such-model"}, NotThere, "no run and no file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, values: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        synthesize(tmp_path / "nothing", tmp_path / "o.jsonl", values, runs=tmp_path)


def test_rows_without_labels_cannot_be_written_for_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "a b", "completion": "c"}) + "\n")
    with pytest.raises(DataError, match="No row has a label"):
        synthesize(path, tmp_path / "o.jsonl", {"model": "nano", "kind": "labels"})
    assert synthesizing.Synthesis.parse({"model": "nano"}).kind == "auto"
