"""Messages of other shapes (OpenAI, ShareGPT, pairs) as ours, with every rule of order that chat templates rely on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.example import ROLES, Message
from tunewright.data import contents
from tunewright.data.media import NOWHERE, Place

_SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "bot": "assistant",
    "chatgpt": "assistant", "model": "assistant", "system": "system", "tool": "tool", "observation": "tool",
    "function_response": "tool", "tool_response": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
_FLAGS = ("weight", "train", "loss", "loss_scale")  # what says whether a message is learned
_OURS = {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "train_detail", *_FLAGS}


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


def system_of(value: Any) -> str | None:
    """The system message of a column: a text, or Anthropic's blocks of text; None where it is empty."""
    if isinstance(value, list):
        value = contents.read(value, 0, NOWHERE).text
    return text_of(value, "the system message") if value else None


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


def messages(value: Any, place: Place = NOWHERE) -> tuple[list[Message], dict[str, Any]]:
    """Messages of any shape, and the keys of each message (by its number) that have no place in ours."""
    found: list[Message] = []
    extras: dict[str, Any] = {}
    for number, item in enumerate(listed(value), start=1):
        if not isinstance(item, dict):
            raise DataError(f"not a message: message {number} is {type(item).__name__}")
        if "from" in item:
            found.append(_shared(item, number))
            left = {key: part for key, part in item.items() if key not in {"from", "value", *_FLAGS} and part}
        else:
            made, thoughts = _openai(item, number, place)
            found += made
            left = {key: part for key, part in item.items() if key not in _OURS and part}
            left |= {"thinking": thoughts} if thoughts else {}
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
    return [_tool(tool) for tool in found] or None


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "function" in tool:
        return tool
    if "input_schema" in tool:  # Anthropic's word for the parameters
        tool = {
            **{key: value for key, value in tool.items() if key != "input_schema"},
            "parameters": tool["input_schema"],
        }
    return {"type": "function", "function": tool}


def pair(prompt: list[Message], chosen: Any, rejected: Any, place: Place = NOWHERE) -> Pair:
    """A preference pair; the prompt is given, or it is what both conversations share at their beginning."""
    better, worse = answer(chosen, "chosen", place), answer(rejected, "rejected", place)
    if len(better) > 1 and len(worse) > 1 and any(one.role == "user" for one in better):
        shared = 0
        while shared < min(len(better), len(worse)) - 1 and better[shared] == worse[shared]:
            shared += 1
        starts_with_system = bool(prompt) and prompt[0].role == "system" and better[0].role != "system"
        prompt = [*(prompt[:1] if starts_with_system else []), *better[:shared]]
        better, worse = better[shared:], worse[shared:]
    return pair_of(prompt, better, worse)


def pair_of(prompt: list[Message], better: list[Message], worse: list[Message]) -> Pair:
    """A preference pair of messages. Raises DataError where they make none."""
    if not prompt:
        raise DataError("empty: the pair has no prompt")
    if not better or not worse:
        raise DataError("empty: chosen or rejected has no message")
    if better == worse:
        raise DataError("no preference: chosen and rejected are the same")
    for said in (better, worse):
        check_order([*prompt, *said], learned=True)
        if said[0].role != "assistant" or said[-1].role != "assistant":
            raise DataError("wrong order: chosen and rejected must be what the assistant says after the same prompt")
    return Pair(prompt, better, worse)


def answer(value: Any, what: str, place: Place = NOWHERE) -> list[Message]:
    """What the assistant says: a text, a message, or messages."""
    if isinstance(value, list | dict) and (isinstance(value, dict) or any(isinstance(one, dict) for one in value)):
        return messages(value, place)[0]
    return [message("assistant", text_of(value, what))]


def _openai(item: dict[str, Any], number: int, place: Place) -> tuple[list[Message], list[dict[str, Any]]]:
    """The message (of Anthropic's, also the answers of tools that it holds), and the thoughts beside it."""
    role = item.get("role")
    spoken = _SPEAKERS.get(role) if isinstance(role, str) else None
    if role == "function" or spoken == "tool":  # the older shape of tools; names of others
        role = "tool"
    if spoken == "call":
        return [
            message(
                "assistant", "", tool_calls=_calls(item.get("content"), number), **_learned(item, "assistant", number)
            )
        ], []
    if role not in ROLES:
        raise DataError(f"unknown role: message {number} has role {role!r}, not one of {', '.join(ROLES)}")
    content = contents.read(item.get("content"), number, place)
    others: dict[str, Any] = _learned(item, role, number)
    calls = item.get("tool_calls") or content.calls
    if item.get("function_call"):
        calls = [{"type": "function", "function": item["function_call"]}]
    if calls:
        if role != "assistant" or not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise DataError(f"wrong tool call: message {number} must be the assistant's, with a list of objects")
        others["tool_calls"] = calls
    for key in ("name", "tool_call_id"):
        if item.get(key) is not None:
            others[key] = text_of(item[key], f"{key} of message {number}")
    if content.media:
        others["media"] = content.media
    if content.results and not content.text:
        return content.results, content.thoughts
    if not content.text.strip() and not calls and role != "tool" and others.get("weight") != 0:
        raise DataError(f"empty: message {number} ({role}) has no characters")
    return [*content.results, message(role, content.text, **others)], content.thoughts


def _learned(item: dict[str, Any], role: str, number: int) -> dict[str, float]:
    """The weight that a message's flags give it; nothing where it is learned like any other."""
    found: dict[str, float] = {}
    for key in _FLAGS:
        value = item.get(key)
        if value is None:
            continue
        if key != "weight" and isinstance(value, bool):
            if value == (role == "assistant"):
                continue
            value = float(value)
        found.setdefault("weight", _weight(value, role, number))
    return found | _learned_parts(item.get("train_detail"), role, number)


def _learned_parts(parts: Any, role: str, number: int) -> dict[str, float]:
    """Axolotl's parts of a message that are learned: all of it or nothing, since a message is learned as a whole."""
    if not parts:
        return {}
    if not isinstance(parts, list) or not all(
        isinstance(one, dict) and isinstance(one.get("train"), bool) for one in parts
    ):
        raise DataError(f"wrong weight: train_detail of message {number} is no list of objects with 'train'")
    if len({one["train"] for one in parts}) > 1:
        raise DataError(
            f"partly learned: train_detail learns parts of message {number}; split it into messages, each with 'train'"
        )
    if role != "assistant":
        return {"weight": _weight(1.0, role, number)} if parts[0]["train"] else {}
    return {} if parts[0]["train"] else {"weight": 0.0}


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
    others: dict[str, Any] = _learned(item, "assistant" if speaker == "call" else speaker, number)
    if speaker == "call":
        return message("assistant", "", tool_calls=_calls(value, number), **others)
    if (speaker == "tool" and value == "") or (others.get("weight") == 0 and value in (None, "")):
        return message(speaker, "", **others)
    return message(speaker, text_of(value, f"message {number} ({item['from']})"), **others)


def _calls(value: Any, number: int) -> list[dict[str, Any]]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise DataError(f"wrong tool call: message {number} is not JSON") from None
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) and one.get("name") for one in found):
        raise DataError(f"wrong tool call: message {number} must be an object (or a list) with name and arguments")
    return [contents.function_call(call["name"], call.get("arguments", {}), number) for call in found]
