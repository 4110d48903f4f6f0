"""Messages of other shapes (OpenAI, ShareGPT, pairs) as ours, with every rule of order that chat templates rely on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.example import ROLES, Message

_SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "bot": "assistant",
    "chatgpt": "assistant", "model": "assistant", "system": "system", "tool": "tool", "observation": "tool",
    "function_response": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
_OURS = {"role", "content", "weight", "name", "tool_calls", "tool_call_id"}


@dataclass(frozen=True)
class Pair:
    """A preference: one prompt, the better and the worse continuation."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


def message(role: str, content: str, **others: Any) -> Message:
    """A message."""
    return Message(role=role, content=content, **others)


def text_of(value: Any, what: str) -> str:
    """A text that says something. Raises DataError naming `what` otherwise."""
    if value is None:
        raise DataError(f"empty: {what} is missing")
    if not isinstance(value, str):
        raise DataError(f"not a text: {what} is {type(value).__name__} {str(value)[:40]!r}")
    if not value or value.isspace():
        raise DataError(f"empty: {what} has no characters")
    return value


def listed(value: Any) -> list[Any]:
    """A list, also one written as JSON in a text column. Raises DataError."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError("not a list: the messages are a text that is not JSON") from None
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise DataError(f"not a list: the messages are {type(value).__name__}")
    return value


def messages(value: Any) -> tuple[list[Message], dict[str, Any]]:
    """Messages of either shape, and the keys of each message (by its number) that have no place in ours."""
    found: list[Message] = []
    extras: dict[str, Any] = {}
    for number, item in enumerate(listed(value), start=1):
        if not isinstance(item, dict):
            raise DataError(f"not a message: message {number} is {type(item).__name__}")
        if "from" in item:
            found.append(_shared(item, number))
            left = {key: part for key, part in item.items() if key not in ("from", "value", "weight") and part}
        else:
            found.append(_openai(item, number))
            left = {key: part for key, part in item.items() if key not in {*_OURS, "function_call"} and part}
        if left:
            extras[str(number)] = left
    if not found:
        raise DataError("empty: there are no messages")
    return found, extras


def check_order(found: list[Message], *, learned: bool) -> None:
    """Raise DataError when the order cannot be followed. `learned`: there must be an answer to learn."""
    before = "start"
    for number, one in enumerate(found, start=1):
        if one.role in ("system", "developer") and before != "start":
            where = "two system messages" if before in ("system", "developer") else "a system message in the middle"
            raise DataError(f"wrong order: {where} (message {number})")
        if one.role == "assistant" and before == "start":
            raise DataError("wrong order: the assistant speaks first, with nothing before it")
        if one.role == "tool" and before not in ("assistant", "tool"):
            raise DataError(f"wrong order: a tool answers in message {number}, but the assistant did not call one")
        before = one.role
    if learned and not any(one.role == "assistant" and one.weight != 0 for one in found):
        raise DataError("nothing to learn: no assistant message (with a weight above 0)")


def tools(value: Any) -> list[dict[str, Any]] | None:
    """Tool descriptions in OpenAI's shape, from a list or from JSON text; bare functions are wrapped."""
    if value is None or value == "" or value == []:
        return None
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise DataError("not a list: the tools are a text that is not JSON") from None
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise DataError("not a list: the tools are no list of objects")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in found] or None


def pair(prompt: list[Message], chosen: Any, rejected: Any) -> Pair:
    """A preference pair; the prompt is given, or it is what both conversations share at their beginning."""
    better, worse = _answer(chosen, "chosen"), _answer(rejected, "rejected")
    if len(better) > 1 and len(worse) > 1 and any(one.role == "user" for one in better):
        shared = 0
        while shared < min(len(better), len(worse)) - 1 and better[shared] == worse[shared]:
            shared += 1
        starts_with_system = bool(prompt) and prompt[0].role == "system" and better[0].role != "system"
        prompt = [*(prompt[:1] if starts_with_system else []), *better[:shared]]
        better, worse = better[shared:], worse[shared:]
    if not prompt:
        raise DataError("empty: the pair has no prompt")
    if better == worse:
        raise DataError("no preference: chosen and rejected are the same")
    for answer in (better, worse):
        check_order([*prompt, *answer], learned=True)
        if answer[0].role != "assistant" or answer[-1].role != "assistant":
            raise DataError("wrong order: chosen and rejected must be what the assistant says after the same prompt")
    return Pair(prompt, better, worse)


def _answer(value: Any, what: str) -> list[Message]:
    if isinstance(value, str):
        return [message("assistant", text_of(value, what))]
    if value is None:
        raise DataError(f"empty: {what} is missing")
    return messages(value)[0]


def _openai(item: dict[str, Any], number: int) -> Message:
    role, content = item.get("role"), item.get("content")
    others: dict[str, Any] = {}
    calls = item.get("tool_calls")
    if role == "function":  # the older shape of tools
        role = "tool"
    if role not in ROLES:
        raise DataError(f"unknown role: message {number} has role {role!r}, not one of {', '.join(ROLES)}")
    if item.get("function_call"):
        calls = [{"type": "function", "function": item["function_call"]}]
    if calls:
        if role != "assistant" or not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise DataError(f"wrong tool call: message {number} must be the assistant's, with a list of objects")
        others["tool_calls"] = calls
    if item.get("weight") is not None:
        others["weight"] = _weight(item["weight"], role, number)
    for key in ("name", "tool_call_id"):
        if item.get(key) is not None:
            others[key] = text_of(item[key], f"{key} of message {number}")
    text = _content(content, number)
    if not text.strip() and not calls and role != "tool" and others.get("weight") != 0:
        raise DataError(f"empty: message {number} ({role}) has no characters")
    return message(role, text, **others)


def _content(content: Any, number: int) -> str:
    if content is None:
        return ""
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise DataError(f"not a text: message {number} holds a part of type '{kind}'; only text can be learned")
        return "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise DataError(f"not a text: message {number} is {type(content).__name__}")
    return content


def _weight(value: Any, role: str, number: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise DataError(f"wrong weight: message {number} has weight {value!r}; it must be a number from 0 up")
    if role != "assistant":
        raise DataError(f"wrong weight: message {number} ({role}) has a weight, but only the assistant's are learned")
    return float(value)


def _shared(item: dict[str, Any], number: int) -> Message:
    speaker = _SPEAKERS.get(str(item["from"]).lower())
    if speaker is None:
        raise DataError(f"unknown role: message {number} is from {item['from']!r}, not one of {', '.join(_SPEAKERS)}")
    value = item.get("value")
    if speaker == "call":
        return message("assistant", "", tool_calls=_calls(value, number))
    others: dict[str, Any] = {}
    if item.get("weight") is not None:
        others["weight"] = _weight(item["weight"], speaker, number)
    if speaker == "tool" and value == "":
        return message("tool", "")
    return message(speaker, text_of(value, f"message {number} ({item['from']})"), **others)


def _calls(value: Any, number: int) -> list[dict[str, Any]]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise DataError(f"wrong tool call: message {number} is not JSON") from None
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) and one.get("name") for one in found):
        raise DataError(f"wrong tool call: message {number} must be an object (or a list) with name and arguments")
    functions = [{"name": call["name"], "arguments": call.get("arguments", {})} for call in found]
    return [{"type": "function", "function": function} for function in functions]
