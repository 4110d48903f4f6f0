"""The texts of a row that may be mended, and the row with them mended: places of entities move along."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunewright.core.example import Example, Message, Span
from tunewright.data import entities

Change = Callable[[str], str]


def texts(example: Example) -> list[str]:
    """The document, or what is said; without an answer that is a label or names entities: it follows from others."""
    if example.text is not None:
        return [example.text]
    spoken = [*_free(example), *(example.rejected or [])]
    return [message.content for message in spoken]


def rewritten(example: Example, change: Change) -> Example:
    """The row with each of its texts changed. The same object where nothing changes, where a text would become empty,
    or where an entity's place in the new text cannot be told.
    """
    if example.text is not None:
        new = change(example.text)
        return example if new == example.text or not new.strip() else example.model_copy(update={"text": new})
    free = _free(example)
    messages, spans = _messages(free, change), example.spans
    rejected = _messages(example.rejected, change) if example.rejected else example.rejected
    if messages is None or (example.rejected and rejected is None):
        return example
    if messages == free and rejected == example.rejected:
        return example
    rest = example.messages[len(free) :]
    if spans is not None:
        asked = max(place for place, message in enumerate(free) if message.role == "user")
        spans = moved(free[asked].content, messages[asked].content, spans, change)
        if spans is None:
            return example
        old, new = (entities.answer(one[asked].content, of) for one, of in ((free, example.spans), (messages, spans)))
        rest = [message.model_copy(update={"content": new}) if message.content == old else message for message in rest]
    values = {"messages": [*messages, *rest], "rejected": rejected, "spans": spans}
    if example.expected is not None and len(free) == len(example.messages):
        values["expected"] = change(example.expected)
    if example.question is not None:
        values["question"] = change(example.question)
    return example.model_copy(update=values)


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


def _messages(old: list[Message] | None, change: Change) -> list[Message] | None:
    """Messages with changed contents; None where one would become empty."""
    found = []
    for message in old or []:
        new = change(message.content)
        if message.content and not new.strip():
            return None
        found.append(message if new == message.content else message.model_copy(update={"content": new}))
    return found
