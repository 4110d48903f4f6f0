"""Replies are kept as they come: a stop, a full disk or a failure loses none that was paid for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.endpoint import Endpoint, Question, Reply
from tunewright.core.errors import EndpointError, Stopped
from tunewright.stages.replies import AtEndpoint, Budget, Here, Replies


def questions(count: int, room: int = 10) -> list[Question]:
    return [Question([{"role": "user", "content": f"question {number}"}], room) for number in range(count)]


def at(server: Any, path: Path, **options: Any) -> Replies:
    return Replies(path, AtEndpoint(Endpoint(url=server.url, model="tiny", at_once=4)), **options)


class Echo(Here):
    """A model of ours that repeats what it is asked, and refuses one question."""

    def _batch(self, batch: Sequence[Question]) -> list[Reply | EndpointError]:
        said = [question.messages[-1]["content"] for question in batch]
        return [EndpointError("too long", of_question=True) if one.endswith(" 70") else Reply(one) for one in said]


def test_a_model_here_answers_every_question_of_many_batches(tmp_path: Path) -> None:
    replies = Replies(tmp_path / "r.jsonl", Echo("nano"))
    said = replies.ask(questions(200))
    assert said == [None if number == 70 else f"question {number}" for number in range(200)]
    assert replies.refused == ["too long"]
    assert replies.spent.questions == 199


def test_equal_questions_are_asked_once_and_known_ones_never_again(tmp_path: Path, model_server: Any) -> None:
    path = tmp_path / "r.jsonl"
    assert at(model_server, path).ask([*questions(3), *questions(3)]) == ["hello"] * 6
    assert len(model_server.asked) == 3
    again = at(model_server, path)
    assert again.spent.questions == 3
    assert again.ask(questions(4)) == ["hello"] * 4
    assert len(model_server.asked) == 4


def test_a_stop_waits_for_what_is_under_way_and_keeps_it(tmp_path: Path, model_server: Any) -> None:
    model_server.seconds = 0.05

    def told(done: int, total: int) -> None:
        raise Stopped("on request")

    with pytest.raises(Stopped):
        at(model_server, tmp_path / "r.jsonl", told=told).ask(questions(40))
    kept = list(storage.read_jsonl(tmp_path / "r.jsonl"))
    assert len(kept) == len(model_server.asked) < 12


def test_a_full_disk_ends_it_and_the_same_call_goes_on(
    tmp_path: Path, model_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_visits", {})
    monkeypatch.setenv("TUNEWRIGHT_FAIL", "replies:3:full")
    with pytest.raises(OSError, match="No space left"):
        at(model_server, tmp_path / "r.jsonl").ask(questions(8))
    monkeypatch.delenv("TUNEWRIGHT_FAIL")
    kept = len(list(storage.read_jsonl(tmp_path / "r.jsonl")))
    assert kept == 2
    before = len(model_server.asked)
    assert at(model_server, tmp_path / "r.jsonl").ask(questions(8)) == ["hello"] * 8
    assert len(model_server.asked) - before == 6


@pytest.mark.parametrize(("budget", "asked"), [(Budget(tokens=30), 7), (Budget(tokens=5), 0), (Budget(), 8)])
def test_nothing_is_asked_that_could_go_beyond_the_budget(
    tmp_path: Path, model_server: Any, budget: Budget, asked: int
) -> None:
    replies = at(model_server, tmp_path / "r.jsonl", budget=budget)
    said = replies.ask(questions(8))  # 12 tokens each at most, of which 3 are used
    assert len(model_server.asked) == asked
    assert replies.spent.prompt_tokens + replies.spent.completion_tokens <= (budget.tokens or 10**9)
    assert bool(replies.over) == (None in said) == (budget.tokens is not None)
