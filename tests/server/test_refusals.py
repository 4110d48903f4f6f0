"""What is refused, and how: the official client raises the right class, and the parameter is named."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from server_process import Server

from .conftest import CONTEXT

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
JSON = {"content-type": "application/json"}


def ask(client: OpenAI, **options: Any) -> Any:
    """A chat request with parameters that the client's own signature may not have."""
    model, messages = options.pop("model", "red"), options.pop("messages", HELLO)
    return client.chat.completions.create(model=model, messages=messages, extra_body=options)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("echo", True),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("best_of", 3),
        ("functions", [{"name": "f"}]),
        ("chat_template", "{{ 1 }}"),
        ("chat_template_kwargs", {"tokenize": True}),
        ("tool_choice", "required"),
        ("response_format", {"type": "yaml"}),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "strange"}}}),
        ("structured_outputs", {"choice": []}),
        ("structured_outputs", {"choice": [""]}),
        ("structured_outputs", {"regex": "a"}),
        ("temprature", 0.5),
        ("top_k", -5),
        ("n", 10_000),
        ("n", 0),
        ("n", True),
        ("temperature", -1),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 1.5),
        ("seed", 2**64),
        ("seed", 1.5),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", [""]),
        ("stop", ["x" * 1000]),
        ("max_tokens", 0),
        ("max_tokens", 0.5),
        ("top_logprobs", 3),
        ("top_logprobs", 300),
        ("stream_options", {"include_usage": True}),
    ],
)
def test_what_cannot_be_carried_out_is_named(client: OpenAI, param: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **{param: value})
    assert (refused.value.param or "").startswith(param)
    assert refused.value.type == "invalid_request_error"
    assert refused.value.request_id


def test_one_constraint_at_a_time(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, response_format={"type": "json_object"}, structured_outputs={"choice": ["a"]})
    assert refused.value.param == "structured_outputs"


def test_harmless_parameters_pass(client: OpenAI) -> None:
    harmless: dict[str, Any] = {"user": "u", "metadata": {"a": "b"}, "store": False, "frequency_penalty": 0}
    harmless |= {"logit_bias": {}, "stop": None, "tools": [], "response_format": {"type": "text"}}
    assert ask(client, **harmless).choices[0].message.content == ask(client).choices[0].message.content


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "wizard", "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": 5}], "messages.0.content"),
        (
            [*HELLO, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "messages.1.content",
        ),
        ([{"role": "user", "content": "x", "tool_calls": [{}]}], "messages.0.tool_calls"),
        ([{"role": "user", "content": "x", "cache_control": {"a": 1}}], "messages.0.cache_control"),
        ("hello", "messages"),
    ],
)
def test_messages_that_cannot_be_read_are_named(client: OpenAI, messages: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, messages=messages)
    assert refused.value.param == param


def test_an_earlier_answer_can_be_sent_back(client: OpenAI) -> None:
    answer = ask(client).choices[0].message.model_dump()
    assert ask(client, messages=[*HELLO, answer, *HELLO]).choices


@pytest.mark.parametrize(
    "name", ["none", "red:999", "red:../../tiny", "../runs/red", "/etc/passwd", "red:001/../001", "a\x00b", "x" * 300]
)
def test_a_name_that_nothing_has_is_not_found(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, model=name)
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


def test_a_model_that_is_not_there_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")
    with pytest.raises(openai.NotFoundError):
        client.get("/nowhere", cast_to=object)


def test_what_exceeds_the_context_is_refused(client: OpenAI) -> None:
    for options in (
        {"messages": [{"role": "user", "content": "x" * CONTEXT}]},
        {"max_tokens": CONTEXT},
        {"max_tokens": 10**9},
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, **options)
        assert refused.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="red", prompt=[1] * CONTEXT)
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize("prompt", ["", [], [[]], [1, 10**6], [-1], [True], {"a": 1}, ["x"] * 65, [["x"]]])
def test_prompts_that_cannot_be_read(client: OpenAI, prompt: Any) -> None:
    if prompt == "":  # a document may begin with nothing
        assert client.completions.create(model="red", prompt=prompt, max_tokens=2).choices
        return
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="red", prompt=prompt)
    assert refused.value.param == "prompt"


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"top_k": 3},
        {"stop": ["x"]},
        {"max_tokens": 2},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"choice": ["a"]}},
    ],
)
def test_a_choosing_release_refuses_what_it_would_ignore(client: OpenAI, options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, model="desk", **options)
    assert refused.value.param in options
    assert ask(client, model="desk", temperature=0, top_p=1, max_tokens=64, seed=3).choices


def test_a_choosing_release_answers_chats_only(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="chat/completions"):
        client.completions.create(model="desk", prompt="x")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"5", b"\xff\xfe", b"[" * 100_000),
        b'{"model": "red", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "red", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
    ],
)
def test_bodies_that_are_no_requests(server: Server, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]


def test_a_body_that_is_too_large(server: Server, client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, messages=[{"role": "user", "content": "x" * (5 * 2**20)}])
    assert refused.value.status_code == 413

    def pieces() -> Any:
        for _ in range(5):
            yield b"x" * 2**20

    answer = httpx.post(f"{server.url}/v1/chat/completions", content=pieces(), headers=JSON)  # its length is not told
    assert answer.status_code == 413


def test_other_host_names_are_refused_without_keys(server: Server) -> None:
    answer = httpx.get(f"{server.url}/v1/models", headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert httpx.get(f"{server.url}/v1/models", headers={"host": "localhost:99"}).status_code == 200


def test_a_wrong_method_has_the_shape_of_an_error(server: Server) -> None:
    answer = httpx.get(f"{server.url}/v1/chat/completions")
    assert answer.status_code == 405
    assert answer.json()["error"]["message"]
