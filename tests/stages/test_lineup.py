"""Contestants of an evaluation: who answers, what it costs, and that nothing is asked twice."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contest_run import LABELS, SIZES, make_run

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.stages import tuned
from tunewright.stages.asking_servers import label_of
from tunewright.stages.evaluate import evaluate

Tiny = Callable[[str], Path]


def server(model_server: Any, **options: Any) -> dict[str, Any]:
    return {"kind": "endpoint", "endpoint": {"url": model_server.url, "model": "big", **options}}


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def right(body: dict[str, Any]) -> str:
    return next(label for label in LABELS if label in question(body))


def test_a_server_takes_part_with_latency_tokens_and_money(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    model_server.answer = lambda body: f" {right(body).upper()}.\n"
    prices = {"input": 1.0, "output": 10.0}
    recipe, run = make_run(tmp_path, tiny("llama"), against=["base", server(model_server, prices=prices)], hour_price=2)
    report = evaluate(recipe, run)
    assert list(report.contestants) == ["tuned", "base", "endpoint"]
    found = report.contestants["endpoint"]
    assert found["exact"]["value"] == 1.0
    assert found["prompt_tokens"] > 0 and found["completion_tokens"] == SIZES["test"]
    money = (found["prompt_tokens"] * 1 + found["completion_tokens"] * 10) / 1e6
    assert found["cost_per_1000"] == pytest.approx(money / SIZES["test"] * 1000, rel=1e-3)
    for figures in report.contestants.values():
        assert 0 < figures["latency_p50"] <= figures["latency_p95"]
        assert figures["answers_per_second"] > 0
    base = report.contestants["base"]
    assert base["cost_per_1000"] == pytest.approx(2 / 3600 * base["seconds"] / SIZES["test"] * 1000, rel=1e-3)
    asked = model_server.asked[0]
    assert asked["temperature"] == 0 and asked["model"] == "big"
    assert asked["messages"][0]["role"] == "system" and all(
        label in asked["messages"][0]["content"] for label in LABELS
    )


def test_without_prices_money_is_unknown(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    recipe, run = make_run(tmp_path, tiny("llama"), against=[server(model_server)])
    report = evaluate(recipe, run)
    assert report.contestants["endpoint"]["cost_per_1000"] is report.contestants["tuned"]["cost_per_1000"] is None
    assert report.contestants["endpoint"]["exact"]["value"] == 0.0  # "hello" is none of the labels


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("card_lost", "card_lost"),
        (" Card lost.\n", "card_lost"),
        ("**CARD-LOST**", "card_lost"),
        ("The label is card_lost", "The label is card_lost"),
        ("card", "card"),
        ("", ""),
    ],
)
def test_an_answer_is_a_label_only_when_it_is_one(said: str, label: str) -> None:
    assert label_of(said, ["card_lost", "card_found"]) == label


def test_labels_that_differ_in_case_alone_are_not_mixed_up() -> None:
    assert label_of("A", ["a", "A"]) == "A"
    assert label_of("A.", ["a", "A"]) == "A."


def test_a_question_that_a_server_refuses_is_wrong_and_told(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    model_server.answer = right
    recipe, run = make_run(tmp_path, tiny("llama"), against=[server(model_server, at_once=1)])
    evaluate(recipe, run)
    (run.path("evaluate", "answers.endpoint.jsonl")).unlink()
    model_server.faults = [(200, {}, json.dumps(_said("rates"))), (400, {}, '{"error": "too long"}')]
    report = evaluate(recipe, run)
    finding = next(one for one in report.findings if one.name == "refused questions")
    assert finding.count == 1


def _said(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}


def test_several_of_a_kind_have_names_and_say_who_answers(tmp_path: Path, tiny: Tiny) -> None:
    against = [
        "base",
        {"kind": "few_shot", "k": 2, "pick": "fixed"},
        {"kind": "few_shot", "name": "shown-to-tuned", "k": 2, "pick": "fixed", "model": "tuned"},
        {"kind": "prompt", "name": "terse", "system": "Answer with one word."},
    ]
    recipe, run = make_run(tmp_path, tiny("llama"), against=against)
    report = evaluate(recipe, run)
    assert list(report.contestants) == ["tuned", "base", "few_shot", "shown-to-tuned", "terse"]
    assert {one["against"] for one in report.numbers["comparisons"]} == set(report.contestants) - {"tuned"}
    tokens = {name: found["prompt_tokens"] for name, found in report.contestants.items()}
    assert tokens["few_shot"] == tokens["shown-to-tuned"] > tokens["terse"] > tokens["base"] == tokens["tuned"]


def test_base_and_tuned_share_one_base_in_memory(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.models import opening

    opened: list[Any] = []
    original = opening.open_model
    monkeypatch.setattr(opening, "open_model", lambda *a, **k: opened.append(a) or original(*a, **k))
    recipe, run = make_run(tmp_path, tiny("llama"), against=["base", {"kind": "few_shot", "k": 1}])
    opened.clear()
    evaluate(recipe, run)
    assert len(opened) == 1


def test_a_release_answers_as_it_does_for_its_users(tmp_path: Path, tiny: Tiny) -> None:
    recipe, run = make_run(tmp_path, tiny("llama"), against=[])
    with tuned.one_base():
        plain = evaluate(recipe, run)
    from tunewright.stages.deploy import deploy

    recipe = recipe.changed("deploy", formats=["adapter"])
    plain.save(run.path("evaluate"))
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
    deploy(recipe, run)
    for named in ("tiny", "tiny:001", str(run.path("releases", "001"))):
        again = recipe.changed("evaluate", against=[{"kind": "release", "release": named}])
        report = evaluate(again, run)
        table = list(storage.read_jsonl(run.path("evaluate", "answers.jsonl")))
        assert all(one["answers"]["release"] == one["answers"]["tuned"] for one in table)
        assert report.contestants["release"]["latency_p50"] > 0


def test_a_prompt_is_found_on_validation_rows_alone(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    wise = "Say what it is about."
    model_server.answer = lambda body: right(body) if body["messages"][0]["content"].startswith(wise) else "rates"
    search = {"instructions": [wise], "shots": [0], "candidates": 4, "rows": 16}
    model = {"url": model_server.url, "model": "big"}
    recipe, run = make_run(tmp_path, tiny("llama"), against=[{"kind": "prompt", "model": model, "search": search}])
    report = evaluate(recipe, run)
    found = report.numbers["rehearsed"]["prompt"]
    assert found["options"] == {"kind": "prompt", "system": wise}
    assert found["validation"] == 1.0 and found["rows"] == 16
    assert report.contestants["prompt"]["exact"]["value"] == 1.0
    tried = model_server.asked[: found["questions"]]
    texts = {one.prompt[-1].content for one in run.split("validation")}
    assert found["questions"] + SIZES["test"] == len(model_server.asked)
    assert {question(body) for body in tried} <= texts
    again = evaluate(recipe, run)
    assert found["questions"] + SIZES["test"] == len(model_server.asked)
    assert again.numbers["rehearsed"] == report.numbers["rehearsed"]


def test_a_prompt_that_was_found_asks_the_same_when_given(tmp_path: Path, tiny: Tiny) -> None:
    search = {"shots": [0, 2], "candidates": 4, "rows": 8}
    recipe, run = make_run(tmp_path, tiny("llama"), against=[{"kind": "prompt", "search": search}])
    options = evaluate(recipe, run).numbers["rehearsed"]["prompt"]["options"]
    first = list(storage.read_jsonl(run.path("evaluate", "answers.prompt.jsonl")))
    again = evaluate(recipe.changed("evaluate", against=[options]), run)
    assert list(storage.read_jsonl(run.path("evaluate", "answers.prompt.jsonl"))) == first
    assert not again.numbers["rehearsed"]


def test_without_validation_rows_no_prompt_is_looked_for(tmp_path: Path, tiny: Tiny) -> None:
    recipe, run = make_run(tmp_path, tiny("llama"), against=["prompt"])
    storage.write_jsonl(run.path("data", "validation.jsonl"), [])
    with pytest.raises(DataError, match="none can be graded by 'exact'"):
        evaluate(recipe, run)


def forked(work: Callable[[], Any], *, fail: str | None) -> int:
    """Do it in a process of its own, killed at a failpoint if one is named; how the process ended."""
    child = os.fork()
    if child == 0:
        os.environ.update({"TUNEWRIGHT_FAIL": f"{fail}:kill"} if fail else {})
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_a_killed_evaluation_asks_nothing_twice(tmp_path: Path, tiny: Tiny, model_server: Any) -> None:
    model_server.answer = right
    search = {"shots": [0], "candidates": 3, "rows": 8}
    asks = {"url": model_server.url, "model": "big", "at_once": 1}
    against = [{"kind": "prompt", "model": asks, "search": search}, server(model_server, at_once=1)]
    recipe, run = make_run(tmp_path, tiny("llama"), against=against)

    def go_on(fail: str | None) -> int:
        return forked(lambda: evaluate(recipe, run), fail=fail)

    of_tuned = SIZES["test"]
    assert go_on(f"answers:{of_tuned + 6}") == signal.SIGKILL  # while the prompt is looked for
    assert go_on("answers:20") == signal.SIGKILL  # while the prompt asks the test rows
    assert go_on("answers:20") == signal.SIGKILL  # while the other server is asked
    assert go_on(None) == 0
    kept = [one for path in run.path("evaluate").rglob("answers.*.jsonl") for one in storage.read_jsonl(path)]
    of_servers = [one for one in kept if "latency" in one]
    assert len(model_server.asked) == len(of_servers) + 3  # whose replies the killed processes never wrote down
    report = evaluate(recipe, run)
    assert len(model_server.asked) == len(of_servers) + 3
    assert len(of_servers) == report.numbers["rehearsed"]["prompt"]["questions"] + 2 * SIZES["test"]
