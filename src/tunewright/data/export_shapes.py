"""Examples as rows of the shapes that others read. What a shape cannot carry is counted in a few words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tunewright.core.errors import DataError, unknown
from tunewright.core.example import Example, Message
from tunewright.data import formats

Row = dict[str, Any]
FORMATS = ("openai", "sharegpt", "alpaca", "trl", "csv", "parquet", "jsonl")
_ASKS = ("trl", "jsonl", "parquet")  # have a place for a question alone
_SHOWS = ("sharegpt", "trl", "jsonl", "parquet")  # and for images, films and sounds beside the texts
_SPEAKERS = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
_CALLED = "roles of developers"


class CannotCarry(Exception):
    """A row that a shape has no place for; the text says what of it."""


class Shaper:
    """Makes rows of one format. kind: what the rows of the whole export are, as `kind_of_all` tells.

    lost: parts that the shape has no place for, and in how many rows; left_out: rows that had to stay behind.
    """

    def __init__(self, format: str, kind: str) -> None:
        if format not in FORMATS:
            raise DataError(unknown("export format", format, FORMATS))
        self.format, self.kind = format, kind
        self.lost: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.media: set[str] = set()  # columns of media that rows have
        self._needed = _names_needed(format, kind)
        self._make: Callable[[Example], Row] = {
            "openai": self._openai, "sharegpt": self._sharegpt, "alpaca": self._alpaca, "trl": self._trl,
        }.get(format, self._natural)  # fmt: skip

    def row(self, example: Example) -> Row | None:
        """The row of an example; None where it is left out."""
        if example.rejected is not None and self.kind != "pair":
            self.lost["rejected answers, beside rows that have none"] += 1
            example = example.model_copy(update={"rejected": None})
        try:
            row = self._whole(example)
        except CannotCarry as error:
            self.left_out[str(error)] += 1
            return None
        if example.question is not None:
            self.lost["questions apart from their passages"] += 1
        if example.expected is not None and "expected" not in row:
            self.lost["expected answers for graders"] += 1
        if example.label is not None and "label" not in row:
            self.lost["labels, which become plain answers"] += 1
        if example.spans is not None and "spans" not in row:
            self.lost["places of entities"] += 1
        if self.format == "openai":
            self.lost["other columns"] += bool(example.meta)
            return row
        for name, value in example.meta.items():
            if name in row or name.strip().lower() in self._needed or (self.format == "csv" and name != name.strip()):
                self.lost[f"the column '{name}', whose name the shape needs"] += 1
            else:
                row[name] = value
        return row

    def _whole(self, example: Example) -> Row:
        """The row of an example with its images, films and sounds beside it. Raises CannotCarry."""
        if example.num_answer_messages == 0 and not (self.kind == "prompts" and self.format in _ASKS):
            raise CannotCarry("questions without an answer")
        if not example.media:
            return self._make(example)
        of_rejected = any(one.media for one in example.rejected or [])
        if self.format not in _SHOWS or self.kind not in ("chat", "pair", "prompts") or of_rejected:
            raise CannotCarry("images, films and sounds")
        bare = [one.model_copy(update={"media": None}) for one in example.messages]
        row = self._make(example.model_copy(update={"messages": bare}))
        for kind in dict.fromkeys(part.kind for part in example.media):
            self.media.add(f"{kind}s")
            row[f"{kind}s"] = [part.path for part in example.media if part.kind == kind]
        return row

    @property
    def reads_back(self) -> dict[str, Any]:
        """The options of `data` with which tunewright reads the rows that were made."""
        read = reads_back(self.format, self.kind)
        fields = read.get("fields", {}) | {name: name for name in sorted(self.media)}
        return read | ({"fields": fields} if fields else {})

    # --- shapes ---

    def _openai(self, example: Example) -> Row:
        _refuse_document(example)
        prompt, answer = _parted(example)
        for message in example.messages:
            if message.weight not in (None, 0, 1):
                self.lost["weights other than 0 and 1"] += 1
                break
        if example.rejected is None:
            return {"messages": [self._rounded(one) for one in example.messages], **_tools(example)}
        _refuse_turns(answer, example.rejected)
        asked = {"messages": [_said(one) for one in prompt], **_tools(example)}
        return {
            "input": asked,
            "preferred_output": [_said(one) for one in answer],
            "non_preferred_output": [_said(one) for one in example.rejected],
        }

    def _rounded(self, message: Message) -> Row:
        said = _said(message)
        return said | ({"weight": int(message.weight > 0)} if message.weight is not None else {})

    def _sharegpt(self, example: Example) -> Row:
        _refuse_document(example)
        prompt, answer = _parted(example)
        row: Row = {}
        if example.rejected is not None:
            _refuse_turns(answer, example.rejected)
            said = prompt
            row |= {"chosen": self._spoken(answer), "rejected": self._spoken(example.rejected)}
            row = {name: value[0] if len(value) == 1 else value for name, value in row.items()}
        else:
            said = example.messages
        system = said[0].content if said and said[0].role in ("system", "developer") else None
        if system is not None:
            self.lost[_CALLED] += said[0].role == "developer"
            said = said[1:]
        row = {"conversations": self._spoken(said), **row}
        if system is not None:
            row["system"] = system
        if example.tools:
            row["tools"] = json.dumps(example.tools, ensure_ascii=False)
        return row

    def _spoken(self, messages: list[Message]) -> list[Row]:
        found: list[Row] = []
        for message in messages:
            if message.tool_calls:
                if message.content:
                    raise CannotCarry("a tool call with words beside it")
                calls = [call.get("function", call) for call in message.tool_calls]
                self.lost["ids of tool calls"] += any("id" in call for call in message.tool_calls)
                value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
                found.append({"from": "function_call", "value": value})
            else:
                found.append({"from": _SPEAKERS[message.role], "value": message.content})
            self.lost["ids of tool calls"] += message.tool_call_id is not None
            self.lost["names of speakers"] += message.name is not None
            if message.weight is not None:
                found[-1]["weight"] = message.weight
        return found

    def _alpaca(self, example: Example) -> Row:
        _refuse_document(example)
        system, user, answer = self._single(example)
        row: Row = {"instruction": user, "input": ""}
        if example.rejected is None:
            row["output"] = answer
        else:
            row |= {"chosen": answer, "rejected": example.rejected[0].content}
        return row | ({"system": system} if system is not None else {})

    def _trl(self, example: Example) -> Row:
        if self.kind == "text":
            return {"text": example.text}
        _refuse_document(example)
        if self.kind == "prompts":
            return _asked(example)
        if example.rejected is None:
            return {"messages": [_said(one) for one in example.messages], **_tools(example)}
        return {**_pair(example), **_tools(example)}

    def _natural(self, example: Example) -> Row:
        """The columns in which tunewright reads each kind of row, all rows of one kind."""
        if self.kind == "text":
            return {"text": example.text}
        _refuse_document(example)
        if self.kind == "prompts":
            return _asked(example)
        if self.kind == "label":
            system, user, _ = self._single(example)
            return {"text": user, "label": example.label} | ({"system": system} if system is not None else {})
        if self.kind == "spans":
            system, user, _ = self._single(example)
            spans = [span.model_dump() for span in example.spans or []]
            return {"text": user, "spans": spans} | ({"system": system} if system is not None else {})
        if self.kind == "pair" and self.format == "csv":
            system, user, answer = self._single(example)
            assert example.rejected is not None
            if user.lstrip().startswith("["):  # else it would be taken for messages
                user = json.dumps([{"role": "user", "content": user}], ensure_ascii=False)
            row = {"prompt": user, "chosen": answer, "rejected": example.rejected[0].content}
            return row | ({"system": system} if system is not None else {})
        if self.kind == "pair":
            return {**_pair(example), **_tools(example)}
        if self.kind == "turn" and self.format == "csv":
            system, user, answer = self._single(example)
            return {"prompt": user, "completion": answer} | ({"system": system} if system is not None else {})
        return {"messages": [_said(one) for one in example.messages], **_tools(example)}

    def _single(self, example: Example) -> tuple[str | None, str, str]:
        """System message, question and answer of a row that has one of each. Raises CannotCarry."""
        if not is_single(example):
            raise CannotCarry("conversations of several turns or with tools")
        messages = list(example.messages)
        system = messages.pop(0) if messages[0].role in ("system", "developer") else None
        if system is not None:
            self.lost[_CALLED] += system.role == "developer"
        self.lost["weights and names of messages"] += any(one.weight is not None or one.name for one in messages)
        return system.content if system is not None else None, messages[0].content, messages[1].content


def kind_of_all(examples: Iterable[Example], format: str) -> str:
    """What the rows of a set are: label, spans, text, pair, prompts, turn (one question, one answer) or chat."""
    kinds = {_kind(example) for example in examples}
    if format == "csv" and "spans" in kinds:  # a cell holds no list that is read as places
        kinds = kinds - {"spans"} | {"turn"}
    if len(kinds) == 1:
        return kinds.pop()
    return "chat" if "chat" in kinds or not kinds & {"turn", "label", "spans"} else "turn"


def reads_back(format: str, kind: str) -> dict[str, Any]:
    """The options of `data` with which tunewright reads an exported file."""
    if kind == "prompts" and format in _ASKS:
        name = "prompts"
    elif format in ("openai", "trl"):
        name = {"pair": "preference", "text": "text"}.get(kind, "chat")
    elif format in ("sharegpt", "alpaca"):
        name = "preference" if kind == "pair" else {"sharegpt": "sharegpt", "alpaca": "instruction"}[format]
    else:
        turn = "completion" if format == "csv" else "chat"
        known = {"label": "labels", "spans": "spans", "text": "text", "pair": "preference", "turn": turn}
        name = known.get(kind, "chat")
    fields = {
        "labels": {"prompt": "text", "label": "label"},
        "spans": {"text": "text", "spans": "spans"},
        "completion": {"prompt": "prompt", "completion": "completion"},
        "chat": {"messages": "messages"},
        "sharegpt": {"messages": "conversations"},
        "instruction": {"instruction": "instruction", "output": "output"},
        "text": {"text": "text"},
        "prompts": {"prompt": "prompt"},
    }
    return {"format": name} | ({"fields": fields[name]} if name in fields else {})


def _names_needed(format: str, kind: str) -> set[str]:
    """Names of columns that are read as parts of the shape wherever they stand."""
    read = reads_back(format, kind)
    given = read.get("fields", {})
    free = [role for role in formats.FORMATS[read["format"]] if not set(role.words) & set(given)]
    return {name for role in free for name in role.columns} | set(given.values())


def is_single(example: Example) -> bool:
    """Whether a row is one question with one answer, perhaps after a system message, in plain words."""
    roles = [message.role for message in example.messages]
    if roles[:1] in (["system"], ["developer"]):
        roles = roles[1:]
    messages = [*example.messages, *(example.rejected or [])]
    plain = not example.tools and not any(message.tool_calls for message in messages)
    return plain and roles == ["user", "assistant"] and len(example.rejected or [0]) == 1


def _kind(example: Example) -> str:
    if example.text is not None:
        return "text"
    if example.rejected is not None:
        return "pair"
    if example.num_answer_messages == 0:
        return "prompts"
    if (
        example.media
        or not is_single(example)
        or any(message.weight is not None or message.name for message in example.messages)
    ):
        return "chat"
    if example.spans is not None:
        return "spans"
    return "label" if example.label is not None and example.label == example.messages[-1].content else "turn"


def _said(message: Message) -> Row:
    return message.model_dump(exclude_none=True)


def _tools(example: Example) -> Row:
    return {"tools": example.tools} if example.tools else {}


def _parted(example: Example) -> tuple[list[Message], list[Message]]:
    prompt = example.prompt
    return prompt, example.messages[len(prompt) :]


def _asked(example: Example) -> Row:
    row: Row = {"prompt": [_said(one) for one in example.messages], **_tools(example)}
    return row | ({"expected": example.expected} if example.expected is not None else {})


def _pair(example: Example) -> Row:
    prompt, answer = _parted(example)
    rejected = example.rejected or []
    if any(
        one.role == "user" for one in [*answer, *rejected]
    ):  # two conversations, whose shared beginning is the prompt
        return {
            "chosen": [_said(one) for one in example.messages],
            "rejected": [_said(o) for o in [*prompt, *rejected]],
        }
    return {
        "prompt": [_said(one) for one in prompt],
        "chosen": [_said(one) for one in answer],
        "rejected": [_said(one) for one in rejected],
    }


def _refuse_document(example: Example) -> None:
    if example.text is not None:
        raise CannotCarry("documents without a question")


def _refuse_turns(*answers: list[Message]) -> None:
    if any(one.role == "user" for answer in answers for one in answer):
        raise CannotCarry("pairs whose answers go over several turns")
