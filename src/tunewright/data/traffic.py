"""Logged requests to a model, with its responses: each becomes a conversation; what failed is told."""

from __future__ import annotations

import json
from typing import Any

from tunewright.data.rows import RawRow, bad_row

_ALWAYS = ("role", "content")
_CUT = {"length": "the answer was cut at its longest length", "content_filter": "the answer was held back by a filter"}


def is_logged(values: dict[str, Any]) -> bool:
    """Whether a row holds a request and its response (in OpenAI's shapes), rather than columns of such names."""
    if "request" not in values or not ("response" in values or "error" in values):
        return False
    request = _unpacked(values["request"])
    return isinstance(request, dict) and ("messages" in request or "prompt" in request or "input" in request)


def parts(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """The request and the response of a logged request, and why it has no answer."""
    request, response = _unpacked(values["request"]), _unpacked(values.get("response"))
    return request, response if isinstance(response, dict) else {}, _failure(values, response)


def conversation(row: RawRow) -> RawRow:
    """The row of a logged request: messages with the answer, and tools; or a prompt with its completion.

    Other columns stay. A response that failed, was cut or is no chat completion makes the row a bad one.
    """
    assert row.values is not None
    if not is_logged(row.values):
        return row
    request, response = _unpacked(row.values["request"]), _unpacked(row.values.get("response"))
    problem = _failure(row.values, response)
    choice: dict[str, Any] = {}
    if problem is None:
        choice = response["choices"][0]
        problem = _unfinished(choice, "message" if "messages" in request else "text")
    if problem is not None:
        return bad_row(row.file, row.line, problem, json.dumps(row.values, ensure_ascii=False, default=str))
    others = {name: value for name, value in row.values.items() if name not in ("request", "response")}
    if "model" in response:
        others.setdefault("model", response["model"])
    if "messages" not in request:
        return RawRow(row.file, row.line, {**others, "prompt": request.get("prompt"), "completion": choice["text"]})
    messages = [_kept(message) for message in request["messages"]] if isinstance(request["messages"], list) else []
    values: dict[str, Any] = {**others, "messages": [*messages, _kept(choice["message"])]}
    for name in ("tools", "functions"):
        if request.get(name):
            values["tools"] = request[name]
    return RawRow(row.file, row.line, values)


def _unpacked(value: Any) -> Any:
    """A request or response: perhaps JSON in a text, perhaps inside the `body` of a call."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, dict) and isinstance(value.get("body"), dict | str):
        status = {"status_code": value["status_code"]} if isinstance(value.get("status_code"), int) else {}
        body = _unpacked(value["body"])
        return {**status, **body} if isinstance(body, dict) else body
    return value


def _failure(values: dict[str, Any], response: Any) -> str | None:
    """Why there is no answer in a response."""
    error = values.get("error") or (response.get("error") if isinstance(response, dict) else None)
    if error:
        what = error.get("message") or error.get("code") if isinstance(error, dict) else error
        return f"failed request: {str(what)[:200]}"
    if response is None or response == "":
        return "failed request: no response"
    if not isinstance(response, dict):
        return "no chat completion: the response is " + ("a list" if isinstance(response, list) else "a text")
    status = response.get("status_code")
    if isinstance(status, int) and status >= 400:
        return f"failed request: status {status}"
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "no chat completion: the response has no choices"
    return None


def _unfinished(choice: dict[str, Any], kind: str) -> str | None:
    """Why nothing should be learned from an answer. kind: `message` of a chat, `text` of a completion."""
    reason = choice.get("finish_reason")
    if reason in _CUT:
        return f"unfinished answer: {_CUT[reason]}"
    if kind == "text" and isinstance(choice.get("text"), str):
        return None if choice["text"] else "empty answer"
    message = choice.get(kind)
    if not isinstance(message, dict):
        return f"no chat completion: the choice has no {kind}"
    if message.get("refusal"):
        return "refused: the model declined to answer"
    if not message.get("content") and not message.get("tool_calls") and not message.get("function_call"):
        return "empty answer"
    return None


def _kept(message: Any) -> Any:
    """A message's own parts; what a server adds (refusal, annotations, audio) goes when it is empty."""
    if not isinstance(message, dict):
        return message
    return {name: value for name, value in message.items() if name in _ALWAYS or value not in (None, [], {})}
