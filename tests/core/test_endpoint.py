"""The client of chat completions: it asks again when that may help, waits when told to, and never shows the key."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tunewright.core import endpoint
from tunewright.core.endpoint import Client, Endpoint, Prices, Question, Reply
from tunewright.core.errors import EndpointError, Stopped

SECRET = "sk-very-secret-1234"
HELLO = Question([{"role": "user", "content": "say hello"}])


def to(server: Any, **options: Any) -> Endpoint:
    return Endpoint(url=server.url, model="tiny", **options)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)


def test_an_answer_comes_with_what_it_used(model_server: Any) -> None:
    with Client(to(model_server, extra={"top_p": 0.5, "seed": None})) as client:
        assert client.ask(HELLO) == Reply("hello", "stop", 2, 1)
    assert model_server.asked == [
        {"model": "tiny", "messages": HELLO.messages, "max_tokens": 512, "temperature": 0.7, "top_p": 0.5}
    ]
    assert "authorization" not in {name.lower() for name in model_server.headers[0]}


def test_the_environment_may_hold_the_address(model_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    named = Endpoint(url="env:THE_SERVER", model="tiny")
    with pytest.raises(EndpointError, match="no variable THE_SERVER"):
        Client(named)
    monkeypatch.setenv("THE_SERVER", model_server.url)
    with Client(named) as client:
        assert client.ask(HELLO).text == "hello"
    assert named.url == "env:THE_SERVER"


def test_without_usage_tokens_are_counted_by_characters(model_server: Any) -> None:
    model_server.usage = False
    with Client(to(model_server)) as client:
        reply = client.ask(HELLO)
    assert not reply.counted
    assert reply.completion_tokens == 2  # five characters


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_a_passing_fault_is_asked_again(model_server: Any, status: int) -> None:
    model_server.faults = [(status, {}, "busy")] * 2
    with Client(to(model_server)) as client:
        assert client.ask(HELLO).text == "hello"
        assert client.num_retries == 2
    assert len(model_server.asked) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_the_server_says_how_long_to_wait(model_server: Any, as_date: bool) -> None:
    given = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if as_date else "0.4"
    model_server.faults = [(429, {"retry-after": given}, "slow down")]
    began = time.monotonic()
    with Client(to(model_server)) as client:
        client.ask(HELLO)
    assert time.monotonic() - began > 0.35


def test_a_server_that_wants_too_long_a_wait_is_given_up(model_server: Any) -> None:
    model_server.faults = [(429, {"retry-after": "3600"}, '{"error": {"message": "quota is used up"}}')]
    with Client(to(model_server)) as client, pytest.raises(EndpointError, match="429: quota is used up"):
        client.ask(HELLO)


def test_it_gives_up_after_so_many_tries(model_server: Any) -> None:
    model_server.faults = [(500, {}, "out of order")] * 3
    with Client(to(model_server, tries=3)) as client, pytest.raises(EndpointError, match=r"in 3 tries .500: out of"):
        client.ask(HELLO)
    assert len(model_server.asked) == 3


def test_a_slow_answer_is_asked_for_again(model_server: Any) -> None:
    model_server.seconds = 0.5
    with (
        Client(to(model_server, timeout=0.1, tries=2)) as client,
        pytest.raises(EndpointError, match=r"no answer within 0.1 seconds"),
    ):
        client.ask(HELLO)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, json.dumps({"error": {"message": f"bad key {SECRET}"}}), "401: bad key .key.*env:NAME"),
        (404, json.dumps({"error": "no such model"}), "404: no such model.*model's name"),
        (400, "", "refused .400.. Correct"),
        (200, "<html>welcome</html>", "no chat completion: '<html>welcome</html>'"),
        (200, "[]", "no chat completion"),
        (200, '{"choices": []}', "no chat completion"),
    ],
)
def test_what_asking_again_cannot_mend_is_told_at_once(
    model_server: Any, monkeypatch: pytest.MonkeyPatch, status: int, body: str, told: str
) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    model_server.faults = [(status, {}, body)]
    with Client(to(model_server, key="env:A_KEY")) as client, pytest.raises(EndpointError, match=told) as raised:
        client.ask(HELLO)
    assert SECRET not in str(raised.value)
    assert len(model_server.asked) == 1
    assert model_server.headers[0]["authorization"] == f"Bearer {SECRET}"


def test_a_key_is_named_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert Endpoint(url="http://a/v1", model="m", key=f"file:{tmp_path / 'key'}").secret() == SECRET
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    for missing in ("env:NO_SUCH_KEY", f"file:{tmp_path / 'none'}"):
        with pytest.raises(EndpointError, match=r"The key for http://a/v1 is missing"):
            Endpoint(url="http://a/v1", model="m", key=missing).secret()
    with pytest.raises(ValidationError, match="never the key itself"):
        Endpoint(url="http://a/v1", model="m", key=SECRET)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "https://user:pass@host/v1"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Endpoint(url=url, model="m")


def test_the_whole_address_may_be_given() -> None:
    assert Endpoint(url="http://a/v1/chat/completions/".rstrip("/"), model="m").url == "http://a/v1"


def test_tokens_cost_what_they_cost() -> None:
    priced = Endpoint(url="http://a/v1", model="m", prices=Prices(input=2, output=10))
    assert priced.cost(500_000, 100_000) == pytest.approx(2.0)
    assert Endpoint(url="http://a/v1", model="m").cost(1, 1) is None


def test_many_are_asked_together_and_no_more_than_allowed(model_server: Any) -> None:
    model_server.seconds = 0.05
    model_server.answer = lambda body: body["messages"][0]["content"].upper()
    questions = [Question([{"role": "user", "content": f"q{number}"}]) for number in range(12)]
    with Client(to(model_server, at_once=4)) as client:
        found = dict(client.ask_all(questions))
    assert {number: reply.text for number, reply in found.items() if isinstance(reply, Reply)} == {
        number: f"Q{number}" for number in range(12)
    }
    assert 2 <= model_server.together <= 4


def test_a_refused_question_costs_no_other(model_server: Any) -> None:
    model_server.faults = [(400, {}, '{"error": {"message": "this one is not allowed"}}')]
    with Client(to(model_server, at_once=1)) as client:
        found = dict(client.ask_all([HELLO] * 3))
    assert isinstance(found[0], EndpointError)
    assert [found[number] for number in (1, 2)] == [Reply("hello", "stop", 2, 1)] * 2


def test_refusing_everything_ends_it(model_server: Any) -> None:
    model_server.faults = [(400, {}, "wrong model")] * 50
    with Client(to(model_server, at_once=2)) as client, pytest.raises(EndpointError, match="wrong model"):
        list(client.ask_all([HELLO] * 50))
    assert len(model_server.asked) < 8


def test_what_was_under_way_is_not_lost_when_one_fails(model_server: Any) -> None:
    model_server.seconds = 0.05
    model_server.faults = [(401, {}, "the key was taken back")]
    found = []
    with Client(to(model_server, at_once=4)) as client, pytest.raises(EndpointError, match="taken back"):
        for number, reply in client.ask_all([HELLO] * 20):
            found.append((number, reply))
    assert len(found) == len(model_server.asked) - 1


def test_a_wait_ends_when_a_stop_is_asked_for(model_server: Any) -> None:
    model_server.faults = [(429, {"retry-after": "30"}, "")]
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with Client(to(model_server), stop=stop) as client, pytest.raises(Stopped):
        client.ask(HELLO)
    assert time.monotonic() - began < 3
