"""Logged requests become conversations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from written_files import Read, write


def logged(answer: Any = "Hello!", **response: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": answer, "refusal": None}, "finish_reason": "stop"}
    return {
        "id": "r1",
        "request": {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "function"}],
            "stream": False,
        },
        "response": {"object": "chat.completion", "model": "m-1", "choices": [choice], **response},
    }


def test_logged_requests_become_conversations_and_failures_are_put_aside(tmp_path: Path) -> None:
    cut = logged()
    cut["response"]["choices"][0]["finish_reason"] = "length"
    refused = logged(None)
    refused["response"]["choices"][0]["message"]["refusal"] = "I cannot."
    rows = [
        logged(),
        cut,
        logged(error={"message": "rate limit"}),
        {**logged(), "response": None},
        {"request": logged()["request"], "error": "timeout"},
        logged(choices=[]),
        refused,
        logged(""),
        {**logged(), "response": {"status_code": 500, "body": {}}},
        {
            **logged(),
            "request": {"body": json.dumps(logged()["request"])},
            "response": {"status_code": 200, "body": logged()["response"]},
        },
        {"request": {"prompt": "2+2="}, "response": {"choices": [{"text": "4", "finish_reason": "stop"}]}},
    ]  # fmt: skip
    found = Read(write(tmp_path / "traffic.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    whole = {"id": "r1", "model": "m-1", "messages": messages, "tools": [{"type": "function"}]}
    assert found.values == [whole, whole, {"prompt": "2+2=", "completion": "4"}]
    assert found.bad == [
        (2, "unfinished answer: the answer was cut at its longest length"),
        (3, "failed request: rate limit"),
        (4, "failed request: no response"),
        (5, "failed request: timeout"),
        (6, "no chat completion: the response has no choices"),
        (7, "refused: the model declined to answer"),
        (8, "empty answer"),
        (9, "failed request: status 500"),
    ]


def test_columns_called_request_and_response_may_be_plain_texts(tmp_path: Path) -> None:
    rows = [{"request": "Say hi", "response": "hi"}] * 2
    assert Read(write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))).values == rows
