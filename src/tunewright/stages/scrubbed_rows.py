"""Takes personal data out of examples, one row at a time, as prepare reads them. The label is never touched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tunewright.core.example import Example, Span
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.privacy import mapping
from tunewright.privacy.scrub import Find, Scrubbed, Scrubber, recognizer
from tunewright.stages import scrubbing


class RowScrubber:
    """Scrubs the rows of one preparation. key and find: what surrogates follow from, and what finds personal data,
    instead of what the options name.
    """

    def __init__(self, data: DataOptions, *, key: bytes | None = None, find: Find | None = None) -> None:
        assert data.scrub is not None, "there is something to do"
        if data.scrub.mapping_for is not None:
            mapping.refuse_unreadable(data.scrub.mapping_for)
        self._group = data.split.group
        find = find or recognizer(data.scrub)
        self.scrubber = Scrubber(data.scrub, key=key, find=find)
        self._aside = Scrubber(
            data.scrub, key=self.scrubber.key, find=find
        )  # not counted: these rows are not in the data

    def look(self, first: Iterable[Example]) -> None:
        """Learn from the first rows what is a template's and stays."""
        self.scrubber.look(_Texts(example, self._group).values for example in first)
        self._aside.common = self.scrubber.common

    def __call__(self, example: Example) -> Example | None:
        """The example without personal data, its label untouched; None where it has to go."""
        texts = _Texts(example, self._group)
        done = self.scrubber.row(texts.values, columns=texts.columns, hashed=texts.hashed)
        return None if done is None else texts.put_back(done)

    def aside(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row that cannot be used, as it is put aside: its text is scrubbed too; one to be dropped is left out."""
        done = self._aside.row([str(row.get("row") or ""), str(row.get("reason") or "")])
        raw, reason = ("", row.get("reason")) if done is None else (done[0].text, done[1].text)
        return {**row, "row": raw, "reason": reason}

    def close(self) -> None:
        """Write the mapping, where it is kept."""
        scrubbing.keep_mapping(self.scrubber)

    def numbers(self) -> dict[str, Any]:
        """What was done, for the report."""
        return scrubbing.numbers(self.scrubber)

    def findings(self) -> list[Finding]:
        """What was done and what may remain, in words."""
        return scrubbing.findings(self.scrubber)


class _Texts:
    """The texts of an example, one after the other, and the way back."""

    def __init__(self, example: Example, group: str | None) -> None:
        self.example = example
        self.values: list[str] = []
        self.columns: list[str] = []  # where each stands
        self.hashed: frozenset[int] = frozenset()
        self._spoken = _said(example.messages[-1].content, example) if example.messages else None
        row = example.to_row()
        for key in ("label", "spans", "id", "num_answer_messages", "tools"):
            row.pop(key, None)
        meta = row.pop("meta", {})
        self._row = self._taken(row)
        before = len(self.values)
        grouped: set[int] = set()
        self._meta = {}
        for name, value in meta.items():
            self._meta[name] = self._taken(value, column=str(name))
            if name == group:
                grouped = set(range(before, len(self.values)))
            before = len(self.values)
        self.hashed = frozenset(grouped)

    def _taken(self, value: Any, key: str = "", column: str | None = None) -> Any:
        """The value with numbers of texts in the place of texts; keys, roles and the label stay as they are.

        column: what a value is called, in columns of the source and arguments of tools.
        """
        if isinstance(value, str):
            if key in ("role", "tool_call_id", "id", "type") or self._is_label(value) or not value:
                return _Kept(value)
            if key == "arguments" and (inside := self._arguments(value)) is not None:
                return inside
            return self._noted(value, column)
        if isinstance(value, dict):
            kept = _no_text(value) if column is None else ()
            named = {name: None if column is None else name for name in value}
            return {
                name: _Kept(inner) if name in kept else self._taken(inner, name if column is None else "", named[name])
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._taken(inner, key, column) for inner in value]
        if isinstance(value, int) and abs(value) > scrubbing.SMALL:  # a card or an account may be written as a number
            return _Number(self._noted(str(value), column))
        return _Kept(value)

    def _noted(self, text: str, column: str | None) -> int:
        self.values.append(text)
        self.columns.append(column or "")
        return len(self.values) - 1

    def _arguments(self, text: str) -> Any:
        """The arguments of a tool call: JSON in a text stays JSON."""
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        return _Json(self._taken(value, column="")) if isinstance(value, dict | list) else None

    def _is_label(self, value: str) -> bool:
        return self.example.label is not None and value.strip() == self.example.label.strip()

    def put_back(self, done: list[Scrubbed]) -> Example:
        """The example with the scrubbed texts in their places."""
        if all(not one.passes for one in done):
            return self.example

        def back(value: Any) -> Any:
            if isinstance(value, _Json):
                return json.dumps(back(value.value), ensure_ascii=False)
            if isinstance(value, _Number):
                new = done[value.value].text
                return int(new) if new.removeprefix("-").isdigit() else new
            if isinstance(value, _Kept):
                return value.value
            if isinstance(value, dict):
                return {name: back(inner) for name, inner in value.items()}
            return [back(inner) for inner in value] if isinstance(value, list) else done[value].text

        row: dict[str, Any] = {**self.example.to_row(), **back(self._row)}
        if self._meta:
            row["meta"] = back(self._meta)
        changed = Example.model_validate(row)
        return changed if self.example.spans is None else self._with_spans(changed, done)

    def _with_spans(self, changed: Example, done: list[Scrubbed]) -> Example:
        """With the entities where they are now; an answer that tells them as JSON tells the new words."""
        place = next(
            place for place in range(len(changed.messages) - 1, -1, -1) if changed.messages[place].role == "user"
        )
        number = self._row["messages"][place].get("content")
        text = changed.messages[place].content
        spans = [
            span if not isinstance(number, int) else _moved(span, done[number]) for span in self.example.spans or []
        ]
        messages = list(changed.messages)
        if self._spoken is not None:
            said = [{"text": text[span.start : span.end], "label": span.label} for span in spans]
            messages[-1] = messages[-1].model_copy(update={"content": json.dumps(said, ensure_ascii=False)})
        return changed.model_copy(update={"spans": spans, "messages": messages})


class _Kept:
    """A value that is no text to scrub."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _no_text(value: dict[str, Any]) -> tuple[str, ...]:
    """Keys of a message or a tool call whose values are no text: files of images and sounds, names of tools."""
    if "role" in value:
        return ("media", "name") if value["role"] == "tool" else ("media",)
    return ("name",) if "arguments" in value else ()


class _Json(_Kept):
    """A value that stands as JSON in a text."""


class _Number(_Kept):
    """The number of a text that is written as a number."""


def _moved(span: Span, scrubbed: Scrubbed) -> Span:
    start, end = scrubbed.moved(span.start, span.end)
    return span.model_copy(update={"start": start, "end": end})


def _said(answer: str, example: Example) -> list[Any] | None:
    """The entities that an answer tells as JSON, where it is an answer about spans."""
    if example.spans is None:
        return None
    try:
        told = json.loads(answer)
    except ValueError:
        return None
    return told if isinstance(told, list) and len(told) == len(example.spans) else None
