"""What people say of answers: thumbs, corrections, comments. Beside it, the log of the answers is kept going."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select

from tunewright.server.background import Background
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.paging import cursor, listed, page
from tunewright.server.protocol import ApiError, conversation, parse
from tunewright.server.routing import needs
from tunewright.server.traffic import SECONDS, Recorder
from tunewright.server.wire.feedback import FeedbackRequest, feedback_object
from tunewright.workspace import ids, logged_releases, traffic
from tunewright.workspace.tables import Feedback, Traffic

ANSWERING = ("assistant", "tool")  # roles of a correction


def add(api: APIRouter, front: Front) -> None:
    """/v1/feedback."""
    recorder = front.recorder = Recorder(front.place)
    front.models.tells_confidence = bool(recorder.options.log)
    front.background["traffic"] = Background("traffic", recorder.write, seconds=SECONDS, at_end=recorder.write)
    database = front.place.database

    @api.post("/v1/feedback")
    @needs("infer")
    async def say(request: Request) -> dict[str, Any]:
        asked = parse(FeedbackRequest, await request.body())
        return await asyncio.to_thread(_kept, front, recorder, asked, caller_of(request).project)

    @api.get("/v1/feedback")
    @needs("admin")
    def list_feedback(request: Request) -> dict[str, Any]:
        wanted = cursor(request.query_params, default=20, most=100)
        with database.reading() as session:
            mine = Feedback.project == caller_of(request).project
            rows, more = page(session, Feedback, mine, **asdict(wanted))
        sealer = traffic.sealer_of(front.place)
        return listed(rows, lambda row: feedback_object(row, traffic.said_in(row, sealer)), has_more=more)


def _kept(front: Front, recorder: Recorder, asked: FeedbackRequest, project: str) -> dict[str, Any]:
    """Keep feedback, its texts scrubbed. Raises ApiError."""
    if asked.thumb is None and asked.correction is None and asked.comment is None:
        raise ApiError(400, "There is nothing in it. Send 'thumb', 'correction' or 'comment'.", param="thumb")
    about = _found(front, asked.id, project)
    if about is None:
        recorder.write()  # the answer may be younger than the last time
        about = _found(front, asked.id, project)
    sealer = traffic.sealer_of(front.place)
    if about is None or sealer is None:
        off = "" if recorder.options.log else " This server logs none: set traffic.log in workspace.yaml."
        message = f"There is no answer '{asked.id}' in the log.{off} Feedback is for answers that are kept there."
        raise ApiError(404, message, param="id", code="answer_not_found")
    labels = logged_releases.labels_of(front.place, about.release)
    said = _scrubbed(recorder, asked, labels)
    with front.place.database.writing() as session:
        row = traffic.add_feedback(
            session, sealer, id=ids.new("feedback-"), traffic_id=about.id, project=project, thumb=asked.thumb, **said
        )
    return feedback_object(row, said)


def _found(front: Front, id: str, project: str) -> Traffic | None:
    with front.place.database.reading() as session:
        return session.scalar(select(Traffic).where(Traffic.id == id, Traffic.project == project))


def _scrubbed(recorder: Recorder, asked: FeedbackRequest, labels: Sequence[str]) -> dict[str, Any]:
    """The correction and the comment without personal data. Raises ApiError for messages that are no answer."""
    correction: str | list[dict[str, Any]] | None = asked.correction
    if isinstance(asked.correction, list):
        turns = conversation(asked.correction)
        wrong = next((turn["role"] for turn in turns if turn["role"] not in ANSWERING), None)
        if wrong or turns[-1]["role"] != "assistant":
            message = (
                f"'correction' holds the turns that should have come: {' and '.join(ANSWERING)} alone, the last of the "
                f"assistant. Found '{wrong or turns[-1]['role']}'."
            )
            raise ApiError(400, message, param="correction", code="invalid_value")
        correction = recorder.scrubbed(turns, labels)
    elif asked.correction is not None:
        correction = _text(recorder, asked.correction, labels)
    return {"correction": correction, "comment": asked.comment and _text(recorder, asked.comment)}


def _text(recorder: Recorder, text: str, labels: Sequence[str] = ()) -> str | None:
    done = recorder.scrubbed([{"role": "assistant", "content": text}], labels)
    return None if done is None else str(done[0]["content"])
