"""What a message holds: a text, or parts of it (OpenAI, Anthropic, TRL): texts, media, calls of tools, results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.example import Media, Message
from tunewright.data.media import Place

_TEXTS = {None, "text", "input_text", "output_text"}
_MEDIA = {
    "image": "image", "image_url": "image", "input_image": "image", "audio": "audio", "audio_url": "audio",
    "input_audio": "audio", "video": "video", "video_url": "video", "input_video": "video",
}  # fmt: skip
_THOUGHTS = {"thinking", "redacted_thinking", "reasoning"}


@dataclass
class Content:
    """A message's content, part by part. results: answers of tools, which are messages of their own."""

    text: str = ""
    media: list[Media] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)
    thoughts: list[dict[str, Any]] = field(default_factory=list)


def read(content: Any, number: int, place: Place) -> Content:
    """The content of message `number`. Raises DataError where a part cannot be read."""
    found = Content()
    if content is None:
        return found
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        if not isinstance(content, str):
            raise DataError(f"not a text: message {number} is {type(content).__name__}")
        found.text = content
        return found
    for part in content:
        _take(part, found, number, place)
    return found


def function_call(name: Any, arguments: Any, number: int, id: Any = None) -> dict[str, Any]:
    """A call in OpenAI's shape. Raises DataError where it has no name."""
    if not isinstance(name, str) or not name:
        raise DataError(f"wrong tool call: message {number} calls a tool without a name")
    call: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": id, **call} if isinstance(id, str) and id else call


def _take(part: Any, found: Content, number: int, place: Place) -> None:
    if isinstance(part, str):
        found.text += part
        return
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str | None):
        raise DataError(f"not a text: message {number} holds a part that is {type(part).__name__}")
    if kind in _TEXTS and isinstance(part.get("text"), str):
        found.text += part["text"]
    elif kind in _MEDIA:
        _take_media(part, _MEDIA[kind], found, place)
    elif kind == "tool_use":
        found.calls.append(function_call(part.get("name"), part.get("input") or {}, number, part.get("id")))
    elif kind == "tool_result":
        found.results.append(_result(part, number, place))
    elif kind in _THOUGHTS:
        found.thoughts.append(part)
    else:
        raise DataError(f"not a text: message {number} holds a part of type '{kind}', which is not known")


def _take_media(part: dict[str, Any], kind: str, found: Content, place: Place) -> None:
    """A part in any of the shapes in use; one without a reference only says where a column's has its place."""
    found.text += f"<{kind}>"
    given = next(
        (
            part[key]
            for key in (str(part["type"]), kind, f"{kind}_url", "source", "url", "path", "data")
            if part.get(key)
        ),
        None,
    )
    if given is None:
        return
    if isinstance(given, dict) and given.get("data") is not None:
        found.media.append(place.encoded(kind, given["data"], given.get("media_type") or given.get("format")))
    else:
        found.media.append(place.take(kind, given))


def _result(part: dict[str, Any], number: int, place: Place) -> Message:
    inner = read(part.get("content"), number, place)
    if inner.calls or inner.results:
        raise DataError(f"wrong tool call: the result in message {number} holds calls or results of its own")
    id = part.get("tool_use_id")
    return Message(
        role="tool", content=inner.text, tool_call_id=id if isinstance(id, str) and id else None,
        media=inner.media or None,
    )  # fmt: skip
