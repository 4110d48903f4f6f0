"""Example: the one shape in which every stage sees a row of the user's data."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

ROLES = ("system", "developer", "user", "assistant", "tool")


class Media(BaseModel):
    """An image, a film or a sound of a message: where it is, and the SHA-256 of its content (None for an address)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["image", "video", "audio"]
    path: str
    sha256: str | None = None


class Message(BaseModel):
    """One message of a conversation. `weight` 0 keeps an assistant message from being learned.

    media: what the marks <image>, <video> and <audio> of the content stand for, in their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    content: str = ""
    weight: float | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    media: list[Media] | None = None

    @field_validator("role")
    @classmethod
    def _known_role(cls, role: str) -> str:
        if role not in ROLES:
            raise ValueError(f"role '{role}' is not one of {', '.join(ROLES)}")
        return role

    def for_template(self) -> dict[str, Any]:
        """The message as chat templates expect it: set fields only, without the training weight and media."""
        if self.tool_calls is not None:
            return self.model_dump(exclude_none=True, exclude={"weight", "media"})
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            found["name"] = self.name
        if self.tool_call_id is not None:
            found["tool_call_id"] = self.tool_call_id
        return found


class Span(BaseModel):
    """An entity in a text: characters start to end - 1, and its type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int
    end: int
    label: str


class Example(BaseModel):
    """One row: a conversation to learn (the last assistant message is the answer), or a plain text.

    rejected: the worse answer of a preference pair. num_answer_messages: how many messages at the end are the answer,
    where it is not just the last assistant message (0: a prompt alone). label: the class, when the answer is one of a
    label set (of several: a JSON list). spans: the entities of the last user message; an empty list where it has none.
    expected: what graders compare with, when it is not the last assistant message. text: a document for pretraining.
    question: what the user asked, when passages stand beside it in the user's message.
    meta: every other column of the source, untouched (groups and slices are found there).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    messages: list[Message] = Field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    rejected: list[Message] | None = None
    num_answer_messages: int | None = None
    label: str | None = None
    spans: list[Span] | None = None
    expected: str | None = None
    text: str | None = None
    question: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)

    @property
    def prompt(self) -> list[Message]:
        """The messages before the answer: what the model is asked."""
        if self.num_answer_messages is not None:
            return self.messages[: len(self.messages) - self.num_answer_messages]
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "assistant":
                return self.messages[:index]
        return self.messages

    @property
    def asked(self) -> list[Message]:
        """The prompt as it was before passages came beside the question: what tells rows apart."""
        prompt = self.prompt
        if self.question is None:
            return prompt
        last = max(place for place, message in enumerate(prompt) if message.role == "user")
        return [
            message.model_copy(update={"content": self.question}) if place == last else message
            for place, message in enumerate(prompt)
        ]

    @property
    def media(self) -> list[Media]:
        """All images, films and sounds of the row."""
        return [part for message in (*self.messages, *(self.rejected or ())) for part in message.media or ()]

    @property
    def answer(self) -> str | None:
        """What the model should say: `expected`, else the answer's first message; None where neither is given."""
        if self.expected is not None:
            return self.expected
        if self.num_answer_messages is not None:
            return self.messages[-self.num_answer_messages].content if self.num_answer_messages else None
        for message in reversed(self.messages):
            if message.role == "assistant":
                return message.content
        return None

    def to_row(self) -> dict[str, Any]:
        """The example as it is written in data/*.jsonl."""
        return self.model_dump(exclude_none=True, exclude_defaults=True)


def answer_field(answer: str, field: str | None) -> str | None:
    """One field of a structured answer: from a JSON object, else from a line `field: value`. None where it is
    missing.
    """
    if field is None:
        return answer
    start, end = answer.find("{"), answer.rfind("}")
    if 0 <= start < end:
        try:
            value = json.loads(answer[start : end + 1]).get(field)
        except (ValueError, AttributeError):
            value = None
        if value is not None:
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = re.search(rf"^\s*{re.escape(field)}\s*:\s*(.*)$", answer, re.IGNORECASE | re.MULTILINE)
    return line.group(1).strip() if line else None
