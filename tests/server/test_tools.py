"""Calls of tools on the wire: forced ones, streamed ones, and what is no call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openai import OpenAI
from openai.types.chat import ChatCompletion

from tests.conftest import make_tokenizer
from tests.models.test_tool_calls import CALLS, END, START
from tunewright.server.tools import Growing, Tools

CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": CITY | {"additionalProperties": False}}}
    for name in ("weather", "news")
]
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Rome?"}], "tools": TOOLS}


@pytest.fixture(scope="module", params=["tagged", "whole"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """The official client before a random net whose template writes calls."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.conftest import tiny_config
    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    folder: Path = tmp_path_factory.mktemp("tools") / "tiny"
    tokenizer = make_tokenizer(START + CALLS[request.param] + END)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(tiny_config("llama", len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with TestClient(build(Front(Registry([], bases={"tiny": str(folder)}))), base_url="http://127.0.0.1") as http:
        yield OpenAI(base_url="http://127.0.0.1/v1", api_key="none", http_client=http, max_retries=0)


def test_a_forced_call_is_one_of_the_tools(client: OpenAI) -> None:
    pytest.importorskip("llguidance")
    seen = set()
    for seed in range(4):
        answer = client.chat.completions.create(
            **ASK, tool_choice="required", temperature=1.0, seed=seed, max_tokens=200
        )
        assert answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.content is None
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function" and call.id.startswith("call_")
        assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
        seen.add(call.function.name)
    assert seen <= {"weather", "news"} and seen


def test_a_named_call_streams_whole(client: OpenAI) -> None:
    pytest.importorskip("llguidance")
    named = {"type": "function", "function": {"name": "news"}}
    chunks = list(
        client.chat.completions.create(**ASK, tool_choice=named, stream=True, temperature=1.0, max_tokens=200)
    )
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert not any(chunk.choices[0].delta.content for chunk in chunks)
    (call,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert call.index == 0 and call.function is not None and call.function.name == "news"


def test_other_answers_stay_text(client: OpenAI) -> None:
    whole = client.chat.completions.create(**ASK, max_tokens=20)
    ChatCompletion.model_validate(whole.model_dump())
    assert whole.choices[0].message.tool_calls is None
    streamed = client.chat.completions.create(**ASK, max_tokens=20, stream=True)
    told = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert told == whole.choices[0].message.content
    assert client.chat.completions.create(**ASK, max_tokens=4, parallel_tool_calls=False).choices[0].message.content


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools.0"),
        (
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "nonsense"}}}],
                "tool_choice": "required",
            },
            "tools",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused(client: OpenAI, change: dict[str, Any], param: str) -> None:
    import openai

    pytest.importorskip("llguidance")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**(ASK | change))
    assert refused.value.param == param


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("several", [True, False])
def test_a_streamed_answer_shows_what_is_no_call_and_reads_what_is(size: int, several: bool) -> None:
    from tests.models.test_tool_calls import chat_of, printed
    from tunewright.models.tool_calls import ToolForm

    chat = chat_of(START + CALLS["tagged"] + END)
    form = ToolForm.of(chat)
    assert form is not None
    calls = printed(chat, [("news", {"city": "Oslo"}), ("weather", {"city": "Rome"})])
    for said, found in (("Let me < see.\n" + calls, 2), ("a <tool_call> is a thing", 0), ("plain", 0), (calls[:-9], 0)):
        growing = Growing(Tools(form, frozenset({"news", "weather"}), several))
        shown = "".join(growing.more(said[at : at + size]) for at in range(0, len(said), size))
        rest, read = growing.end()
        assert len(read.calls if read else []) == (min(found, 1) if not several else found)
        assert (shown + rest).strip() == (said if not found else "Let me < see.")
        assert all(json.loads(call.arguments) for call in (read.calls if read else []))
