"""A file of logged requests as traffic to harvest from: messages in one shape, personal data replaced.

A workspace's own traffic is scrubbed before it is kept; what is harvested from a file is scrubbed here, as
traffic.scrub of workspace.yaml says, before it is written into the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import DataOptions
from tunewright.core.traffic import Exchanged
from tunewright.data import conversations
from tunewright.stages import traffic_file
from tunewright.stages.scrubbed_rows import RowScrubber
from tunewright.workspace.place import Workspace


class HarvestLog:
    """The answered requests of a file. labels: those of which an answer is one; they are never replaced."""

    def __init__(self, path: Path, place: Workspace, labels: Sequence[str]) -> None:
        """Raises NotThere, DataError for a file that holds anything else."""
        self.answers, self.num_failed = traffic_file.read(path)
        self._labels = labels
        scrub = place.config.traffic.scrubbing
        # the same file gives the same surrogates each time, and who does not have it cannot tell what they stand for
        key = bytes.fromhex(storage.sha256(path)) if scrub.key is None else None
        self._scrub = RowScrubber(DataOptions(sources=["traffic"], scrub=scrub), key=key)

    def since(self, moment: float | None) -> Iterator[Exchanged]:
        """Answers from a moment on; those that tell no time are older than any."""
        return (one for one in self.answers if moment is None or one.created >= moment)

    def clean(self, one: Exchanged) -> Exchanged | None:
        """An answer as it may be kept; None where its messages cannot be read, or must be dropped."""
        assert one.answer is not None
        answer = Message(role="assistant", content=one.answer)
        comment = one.comment if isinstance(one.comment, str) else None
        try:
            asked, _ = conversations.messages(one.messages)
            tools = conversations.tools(one.tools)
            right = None if one.correction is None else self._corrected(one.correction)
        except DataError:
            return None
        done = self._scrubbed([*asked, answer], tools=tools or [], comment=comment or "")
        fixed = self._scrubbed(right) if right is not None else None
        if done is None or (right is not None and fixed is None):
            return None
        turns = None if fixed is None else [turn.for_template() for turn in fixed.messages]
        return replace(
            one,
            messages=[message.for_template() for message in done.messages[:-1]],
            answer=done.messages[-1].content,
            tools=done.meta.get("tools") or None,
            comment=done.meta.get("comment") or None,
            correction=turns[-1]["content"] if turns and isinstance(one.correction, str) else turns,
        )

    def _corrected(self, given: Any) -> list[Message]:
        if isinstance(given, list):
            return conversations.messages(given)[0]
        return [Message(role="assistant", content=conversations.text_of(given, "the correction"))]

    def _scrubbed(self, messages: list[Message], **meta: Any) -> Example | None:
        said = messages[-1].content
        label = said if said in self._labels else None
        return self._scrub(Example(id="traffic", messages=messages, label=label, meta=meta))
