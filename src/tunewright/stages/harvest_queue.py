"""The queue of a harvest: answers worth learning from, why each was chosen, and what was decided of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.core import harvested, storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.example import Example, Message

Decision = Literal["accept", "correct", "skip"]
WHY = {  # in the order of their weight
    "correction": "corrected by a user",
    "thumb_down": "called wrong by a user",
    "monitored": "stood out when the traffic was monitored",
    "low_confidence": "the release was not sure",
}


class Candidate(BaseModel):
    """One line of the queue. A reviewer fills in `decision`, or `correction` alone.

    why: keys of WHY. decision: accept (the answer is right), correct (it should have been `correction`, a text or
    messages), skip; None: nobody decided yet. by: who did, `user` for feedback that came with the answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    release: str
    why: list[str]
    created: float
    confidence: float | None = None
    thumb: str | None = None
    comment: str | None = None
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    answer: str
    decision: Decision | None = None
    correction: str | list[Message] | None = None
    by: Literal["user", "reviewer"] | None = None

    @property
    def turns(self) -> list[Message]:
        """What should be learned as the answer."""
        said = self.correction if self.decision == "correct" else self.answer
        return said if isinstance(said, list) else [Message(role="assistant", content=said or "")]

    def decided(self, decision: Decision, correction: str | list[Message] | None = None) -> Candidate:
        """With a reviewer's word."""
        assert (decision == "correct") == (correction is not None), "a correction says what is right"
        changes = {"decision": decision, "by": "reviewer"}
        return self.model_copy(update=changes | ({"correction": correction} if correction is not None else {}))

    def example(self, *, system: str | None, labelled: bool) -> Example:
        """The row to learn from, with where it came from. system: put before messages that have none."""
        turns, asked = self.turns, self.messages
        if system is not None and not any(message.role in ("system", "developer") for message in asked):
            asked = [Message(role="system", content=system), *asked]
        return Example(
            id=self.id,
            messages=[*asked, *turns],
            tools=self.tools,
            num_answer_messages=len(turns) if len(turns) > 1 else None,
            label=turns[-1].content if labelled else None,
            meta={harvested.ORIGIN: self.id, "release": self.release, "why": ", ".join(self.why)},
        )


def load(path: Path) -> dict[str, Candidate]:
    """The queue by ids; empty where there is none. Raises DataError for a line that was edited into something else."""
    found: dict[str, Candidate] = {}
    for number, line in enumerate(storage.read_lines(path), 1):
        if line.strip():
            one = _candidate(line, f"{path}:{number}")
            found[one.id] = one
    return found


def save(path: Path, queue: Iterable[Candidate]) -> None:
    """Write the queue, whole or not at all."""
    storage.write_jsonl(path, (one.model_dump(exclude={"messages", "correction"}) | _said(one) for one in queue))


def reviewed(path: Path) -> dict[str, Candidate]:
    """A copy of the queue that a reviewer filled in: the lines with a decision, or with a correction alone.

    Raises NotThere, DataError.
    """
    if not path.is_file():
        raise NotThere(f"There is no file {path}. Copy the queue, fill in 'decision', and give the copy.")
    queue = load(path)
    for one in queue.values():
        if one.decision == "correct" and one.correction is None:
            raise DataError(f"{path}: {one.id} is to be corrected, and 'correction' is empty. Write what is right.")
    return {id: one for id, one in queue.items() if one.decision is not None or one.correction is not None}


def _said(one: Candidate) -> dict[str, Any]:
    """Messages as they are sent, without empty fields, for who edits the file by hand."""

    def plain(messages: list[Message]) -> list[dict[str, Any]]:
        return [message.model_dump(exclude_none=True) for message in messages]

    correction = plain(one.correction) if isinstance(one.correction, list) else one.correction
    return {"messages": plain(one.messages), "correction": correction}


def _candidate(line: str, where: str) -> Candidate:
    try:
        return Candidate.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except ValueError as error:
        problem = str(error)
    raise DataError(f"{where} is no line of a harvest ({problem}). Change 'decision' and 'correction' alone.")
