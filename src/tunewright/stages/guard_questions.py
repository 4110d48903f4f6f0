"""Puts a guard's questions to the base and the tuned model, each once, with answers kept in the guard's own folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.guarding import Conversation, Who
from tunewright.core.run import Run
from tunewright.stages.asking import Answered, Question, ask
from tunewright.stages.lineup import Model

if TYPE_CHECKING:
    from tunewright.models.decode import Decode

Tools = Sequence[list[dict[str, Any]] | None]


@dataclass(frozen=True)
class Questions:
    """One guard's. kind: the guard. own: the base and the tuned model."""

    run: Run
    kind: str
    own: Mapping[Who, Model]
    folder: Path

    def ask(
        self,
        who: Who,
        conversations: Sequence[Conversation],
        *,
        name: str,
        tools: Tools | None = None,
        free: bool = False,
        most: int | None = None,
    ) -> list[str]:
        """`GuardScene.ask`. Raises Stopped."""
        decode = self.own[who].decode
        if free:
            plain = {"kind": "generate", "labels": []} if decode.kind == "choices" else {}
            decode = decode.model_copy(update={**plain, "system": None})
        if most is not None:
            decode = decode.model_copy(update={"max_new_tokens": most})
        answered, places = self._put(who, decode, conversations, name, tools)
        return [answered.texts[place] for place in places]

    def sure(self, who: Who, conversations: Sequence[Conversation], *, name: str) -> list[Mapping[str, float]]:
        """`GuardScene.sure`. Raises Stopped."""
        answered, places = self._put(who, self.own[who].decode, conversations, name, None)
        return [answered.shares[place] for place in places]

    def _put(
        self, who: Who, decode: Decode, conversations: Sequence[Conversation], name: str, tools: Tools | None
    ) -> tuple[Answered, list[int]]:
        """Each different question once; for each conversation the place of its answer."""
        questions: dict[str, Question] = {}
        ids = []
        for number, said in enumerate(conversations):
            messages, offered = [dict(message) for message in said], tools[number] if tools else None
            plain = sum(message["role"] not in ("system", "developer") for message in messages)
            ids.append(storage.digest([messages, offered] if offered else messages))
            questions.setdefault(ids[-1], Question(ids[-1], messages, plain, offered))
        model = self.own[who]
        answered = ask(
            self.run,
            f"{self.kind}.{name}.{who}",
            list(questions.values()),
            decode=decode,
            identity=model.identity,
            engine=model.engine,
            folder=self.folder,
        )
        place_of = {id: place for place, id in enumerate(questions)}
        return answered, [place_of[id] for id in ids]
