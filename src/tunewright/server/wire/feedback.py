"""Feedback: what is said of an answer, as it is sent and as it is shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tunewright.server.protocol import Body
from tunewright.workspace.tables import Feedback

Correction = Annotated[str, Field(min_length=1, max_length=100_000)]


class FeedbackRequest(Body):
    """POST /v1/feedback. id: of the answer. correction: what it should have been, a text or the messages."""

    id: str = Field(pattern=r"^[\x21-\x7e]{1,64}$")
    thumb: Literal["up", "down"] | None = None
    correction: Correction | Annotated[list[dict[str, Any]], Field(min_length=1, max_length=64)] | None = None
    comment: str | None = Field(None, min_length=1, max_length=10_000)


def feedback_object(row: Feedback, said: dict[str, Any]) -> dict[str, Any]:
    """As it is answered. said: its decrypted correction and comment."""
    shown = {"id": row.id, "object": "feedback", "created": int(row.created), "answer": row.traffic_id}
    return shown | {"thumb": row.thumb, "correction": said["correction"], "comment": said["comment"]}
