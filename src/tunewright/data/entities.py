"""Entities of texts: from words with tags (BIO, IOB, BIOES, BILOU) or from places in a text, to spans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.example import Message, Span
from tunewright.data.conversations import message, text_of
from tunewright.data.media import NOWHERE, Place

_BEGINS, _GOES_ON = "BSU", "IEL"


def of_tags(row: dict[str, Any], roles: dict[str, str], place: Place = NOWHERE) -> dict[str, Any]:
    """Words and their tags, as lists of one length or texts with spaces: the text is the words with spaces between."""
    words, tags = (_listed(row[roles[name]], name) for name in ("tokens", "tags"))
    if len(words) != len(tags):
        raise DataError(f"tags do not fit: {len(words)} words and {len(tags)} tags")
    if any(not word or any(character.isspace() for character in word) for word in words):
        raise DataError("a word is empty or holds a space")
    return _values(text_of(" ".join(words), "the text"), _spans(words, tags))


def of_places(row: dict[str, Any], roles: dict[str, str], place: Place = NOWHERE) -> dict[str, Any]:
    """A text and its entities as objects with start, end and label (or type)."""
    text = text_of(row[roles["text"]], "the text")
    given = row[roles["spans"]]
    try:
        given = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        given = None
    if not isinstance(given, list):
        raise DataError("spans are no list of objects {start, end, label}")
    spans = []
    for one in given:
        start, end, label = _place(one)
        if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str) and label.strip()):
            raise DataError(f"a span needs start, end and label, found {json.dumps(one, ensure_ascii=False)[:80]}")
        if not 0 <= start < end <= len(text):
            raise DataError(f"a span lies outside the text: {start} to {end} of {len(text)} characters")
        spans.append(Span(start=start, end=end, label=label.strip()))
    spans.sort(key=lambda span: (span.start, span.end))
    for before, after in pairwise(spans):
        if after.start < before.end:
            raise DataError(f"spans overlap: {before.start} to {before.end} and {after.start} to {after.end}")
    return _values(text, spans)


def as_words(text: str, spans: Sequence[Span]) -> str:
    """The entities as the answer of a model that writes: as words, for it cannot count characters."""
    said = [{"text": text[span.start : span.end], "label": span.label} for span in spans]
    return json.dumps(said, ensure_ascii=False)


def is_places(value: Any) -> bool:
    """Whether a value looks like the entities of a text."""
    return isinstance(value, list) and all(isinstance(_place(one)[0], int) for one in value)


def _place(one: Any) -> tuple[Any, Any, Any]:
    """Start, end and label of an object {start, end, label} (or other words for them) or a list [start, end, label]."""
    if isinstance(one, list | tuple) and len(one) == 3:
        return one[0], one[1], one[2]
    if not isinstance(one, dict):
        return None, None, None
    start, end = one.get("start", one.get("start_offset")), one.get("end", one.get("end_offset"))
    return start, end, next((one[key] for key in ("label", "type", "entity_group") if key in one), None)


def _values(text: str, spans: Sequence[Span]) -> dict[str, Any]:
    messages: list[Message] = [message("user", text), message("assistant", as_words(text, spans))]
    return {"messages": messages, "spans": list(spans)}


def _listed(value: Any, what: str) -> list[str]:
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or not value:
        raise DataError(f"{what} are no list")
    if what == "tags" and any(not isinstance(one, str) for one in value):
        raise DataError("tags are numbers: give their names, such as O, B-person, I-person")
    return [str(one) for one in value]


def _spans(words: Sequence[str], tags: Sequence[str]) -> list[Span]:
    found: list[Span] = []
    open_label = ""
    at = 0
    for word, tag in zip(words, tags, strict=True):
        prefix, dash, label = tag.partition("-")
        if tag == "O":
            label = ""
        elif not dash or not label or prefix not in _BEGINS + _GOES_ON:
            raise DataError(f"unknown tag: '{tag}', where O, B-LABEL or I-LABEL is read")
        if label and prefix in _GOES_ON and label == open_label:
            found[-1] = found[-1].model_copy(update={"end": at + len(word)})
        elif label:
            found.append(Span(start=at, end=at + len(word), label=label))
        open_label = "" if prefix in "SUEL" else label
        at += len(word) + 1
    return found
