"""The texts of a row that may be mended, and the row with them mended: places of entities move along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tunewright.core.example import Example, Message, Span
from tunewright.data import entities

Change = Callable[[str], str]


def texts(example: Example, *, calls: bool = False) -> list[str]:
    """The document, or what is said; without an answer that is a label or names entities: it follows from others.
    calls: with the values of calls of tools.
    """
    if example.text is not None:
        return [example.text]
    found: list[str] = []
    for message in [*_free(example), *(example.rejected or [])]:
        found.append(message.content)
        if calls and message.tool_calls is not None:
            found += _strings(message.tool_calls)
    return found


def rewritten(example: Example, change: Change, *, calls: bool = False) -> Example:
    """The row with each of its texts changed. The same object where nothing changes, where a text would become empty,
    or where an entity's place in the new text cannot be told.
    """
    if example.text is not None:
        new = change(example.text)
        return example if new == example.text or not new.strip() else example.model_copy(update={"text": new})
    free = _free(example)
    messages = _messages(free, change, calls)
    rejected = None if example.rejected is None else _messages(example.rejected, change, calls)
    if messages is None or (example.rejected is not None and rejected is None):
        return example
    if messages == free and rejected == example.rejected:
        return example
    values: dict[str, Any] = {"messages": [*messages, *example.messages[len(free) :]], "rejected": rejected}
    if example.spans is not None:
        spans = _entities(example, free, messages, change)
        if spans is None:
            return example
        values |= spans
    if example.expected is not None and len(free) == len(example.messages):
        values["expected"] = change(example.expected)
    if example.question is not None:
        values["question"] = change(example.question)
    return example.model_copy(update=values)


def _entities(example: Example, free: list[Message], messages: list[Message], change: Change) -> dict[str, Any] | None:
    """The places of entities in the changed text, and the answer that names them."""
    assert example.spans is not None
    asked = max(place for place, message in enumerate(free) if message.role == "user")
    before, after = free[asked].content, messages[asked].content
    spans = moved(before, after, example.spans, change)
    if spans is None:
        return None
    old, new = entities.as_words(before, example.spans), entities.as_words(after, spans)
    rest = [
        message.model_copy(update={"content": new}) if message.content == old else message
        for message in example.messages[len(free) :]
    ]
    return {"messages": [*messages, *rest], "spans": spans}


def moved(old: str, new: str, spans: Sequence[Span], change: Change) -> list[Span] | None:
    """Where entities are in a changed text; None where pieces changed one by one do not make up the whole."""
    found, at, length = [], 0, 0
    for span in sorted(spans, key=lambda span: span.start):
        length += len(change(old[at : span.start]))
        entity = change(old[span.start : span.end])
        if not entity.strip():
            return None
        found.append(Span(start=length, end=length + len(entity), label=span.label))
        if not new.startswith(entity, length):
            return None
        length, at = length + len(entity), span.end
    return found if length + len(change(old[at:])) == len(new) else None


def _free(example: Example) -> list[Message]:
    if example.label is None and example.spans is None:
        return example.messages
    return example.prompt


def _messages(old: list[Message], change: Change, calls: bool) -> list[Message] | None:
    """Messages with changed contents; None where one would become empty."""
    found = []
    for message in old:
        new = change(message.content)
        if message.content and not new.strip():
            return None
        update: dict[str, Any] = {} if new == message.content else {"content": new}
        if calls and message.tool_calls is not None:
            update["tool_calls"] = _values(message.tool_calls, change)
        found.append(message.model_copy(update=update) if update else message)
    return found


def _values(value: Any, change: Change) -> Any:
    """A value with each text in it changed, but for the names of its keys, and those of tools and calls."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_values(inner, change) for inner in value]
    if isinstance(value, dict):
        return {
            key: inner if key in ("id", "type", "name") and isinstance(inner, str) else _values(inner, change)
            for key, inner in value.items()
        }
    return value


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return [text for one in inner for text in _strings(one)]
