"""Rows made from rows: what an edit may change of a row, and how the row that comes of it tells where it is from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tunewright.core.augment import MADE
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.core.parts import Edit
from tunewright.data import clean, entities
from tunewright.data.changes import Change, applied, moved

_MARK = re.compile(r"<(?:image|video|audio)>")  # each stands for a file beside the text


@dataclass(frozen=True)
class Place:
    """A text of a row that may be changed: where it is in the row, and where it begins in what stands there."""

    where: str  # messages, rejected, expected or text
    number: int
    begin: int
    text: str


def is_made(example: Example) -> bool:
    """Whether a row was made from another, or by a model."""
    found = [example.meta.get(MADE), (example.meta.get("meta") or {}).get(MADE) if _nested(example) else None]
    return any(isinstance(one, dict) and "by" in one for one in found)


def _nested(example: Example) -> bool:
    return isinstance(example.meta.get("meta"), dict)


def refuse_made(example: Example) -> None:
    """Raise DataError for a row that was made: where rows are split, its likes could be measured on."""
    if is_made(example):
        raise DataError(
            f"Row {example.id} was made by tunewright, and rows of data.sources, data.test and data.validation can "
            "measure. Name its file under data.more: its rows are then learned from alone."
        )


def asked_digest(example: Example) -> str:
    """Stands for what a row asks; equal for twins."""
    return hashlib.blake2b(clean.twin_key(example).encode("utf-8"), digest_size=16).hexdigest()


def draw_of(seed: int, *names: str | int) -> Random:
    """Random numbers that hang on the seed and on names alone: rows that are added change no other row's."""
    return Random(int.from_bytes(hashlib.sha256("\x1f".join(map(str, (seed, *names))).encode()).digest()[:8], "big"))


def question(example: Example, edit: Edit, *, seed: int, copy: int, replies: Sequence[str]) -> list[dict[str, Any]]:
    """What a model is asked next to make a row with an edit that asks; empty when the row has nothing to reword."""
    places = _places(example, edit)
    if not places:
        return []
    draw = draw_of(seed, example.id, copy, edit.kind, "question", len(replies))
    return edit.question(places[-1].text, replies, draw)


def made(
    example: Example, edit: Edit, *, seed: int, copy: int, replies: Sequence[str] = (), model: str | None = None
) -> Example | None:
    """The row that an edit makes; None when it changes nothing, or would change what is right to answer."""
    places = _places(example, edit)
    fixed = _fixed(example) if edit.whole_row else []
    if not places:
        return None
    texts = [place.text for place in places]
    found = edit.change([*texts, *fixed], draw_of(seed, example.id, copy, edit.kind), replies)
    if found is None or any(found[len(texts) :]):
        return None
    changes = [sorted(of_text) for of_text in found[: len(texts)]]
    if example.spans is not None and not edit.whole_row and not edit.num_questions:
        changes[-1] = [one for one in changes[-1] if not _touches(one, example)]
    if not any(changes):
        return None
    row = _written(example, places, changes)
    if row is None or _same(row, example):
        return None
    origin: dict[str, Any] = {"by": edit.kind, "from": example.id, "copy": copy, "seed": seed}
    origin |= {"asked": asked_digest(example)} | ({"model": model} if model else {})
    return row.model_copy(update={"id": f"{example.id}~{edit.kind}-{copy + 1}", "meta": {**example.meta, MADE: origin}})


def _same(row: Example, example: Example) -> bool:
    return (clean.prompt_text(row), clean.answer_text(row)) == (clean.prompt_text(example), clean.answer_text(example))


def _touches(change: Change, example: Example) -> bool:
    return any(change.start < span.end and change.end > span.start for span in example.spans or ())


# --- which texts ---


def _places(example: Example, edit: Edit) -> list[Place]:
    """The texts that an edit is handed: what the user says; with `whole_row` all that is said."""
    if edit.whole_row:
        return _all_said(example)
    prompt = example.prompt
    said = [number for number, message in enumerate(prompt) if message.role == "user" and message.content.strip()]
    if not said:
        return []
    if edit.num_questions:
        said = said[-1:]
    places = [Place("messages", number, 0, prompt[number].content) for number in said]
    if example.question is not None:  # passages stand beside the question, and are none of the user's words
        content = places[-1].text
        if content.count(example.question) != 1:
            return []
        places[-1] = Place("messages", said[-1], content.index(example.question), example.question)
    return places


def _all_said(example: Example) -> list[Place]:
    if example.question is not None:
        return []  # a swap in the question alone would ask for what the passages do not say
    answered = example.label is None and not _lists_entities(example)
    last = len(example.messages) if answered else len(example.prompt)
    places = [Place("messages", n, 0, message.content) for n, message in enumerate(example.messages[:last])]
    places += [Place("rejected", n, 0, message.content) for n, message in enumerate(example.rejected or [])]
    for where in ("expected", "text"):
        text = getattr(example, where)
        if text is not None:
            places.append(Place(where, 0, 0, text))
    return places


def _fixed(example: Example) -> list[str]:
    """Texts that must say the same afterwards: a label, and what tools are called with."""
    calls = [message.tool_calls for message in (*example.messages, *(example.rejected or [])) if message.tool_calls]
    label = [example.label.replace("_", " ")] if example.label is not None else []
    return [*label, *(json.dumps(call, ensure_ascii=False) for call in calls)]


# --- the new row ---


def _written(example: Example, places: Sequence[Place], changes: Sequence[Sequence[Change]]) -> Example | None:
    """The row with changed texts; None when a place of an entity is no longer known."""
    update: dict[str, Any] = {}
    messages, rejected = list(example.messages), list(example.rejected or [])
    for place, of_text in zip(places, changes, strict=True):
        if not of_text:
            continue
        shifted = [Change(one.start + place.begin, one.end + place.begin, one.text) for one in of_text]
        if place.where in ("messages", "rejected"):
            said = messages if place.where == "messages" else rejected
            if example.spans is not None and said is messages and place.number == _with_spans(example):
                spans = moved(example.spans, said[place.number].content, shifted)
                if spans is None:
                    return None
                update["spans"] = spans
            said[place.number] = _saying(said[place.number], shifted)
        else:
            update[place.where] = applied(place.text, of_text)
        if example.question is not None:
            update["question"] = applied(place.text, of_text)
    if "spans" in update and _lists_entities(example):
        content = entities.as_words(messages[_with_spans(example)].content, update["spans"])
        messages[-1] = messages[-1].model_copy(update={"content": content})
    if any(_marks(new) != _marks(old) for new, old in zip(messages, example.messages, strict=True)):
        return None
    update["messages"] = messages
    if example.rejected is not None:
        update["rejected"] = rejected
    return example.model_copy(update=update)


def _saying(message: Message, changes: Sequence[Change]) -> Message:
    return message.model_copy(update={"content": applied(message.content, changes)})


def _marks(message: Message) -> list[str]:
    return _MARK.findall(message.content)


def _lists_entities(example: Example) -> bool:
    """Whether the answer is the entities as words, so that it follows from the text and the spans."""
    if example.spans is None or not example.messages or example.messages[-1].role != "assistant":
        return False
    text = example.messages[_with_spans(example)].content
    return example.messages[-1].content == entities.as_words(text, example.spans)


def _with_spans(example: Example) -> int:
    """The last user message: its entities are the row's."""
    return max((n for n, message in enumerate(example.messages) if message.role == "user"), default=-1)
