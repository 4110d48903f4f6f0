"""The desks at which graders work: what a grader may ask of others, with replies kept in the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.endpoint import REFUSED, Client, Endpoint, Question, Reply
from tunewright.core.errors import EndpointError, Stopped
from tunewright.core.parts import Desk, LogProbs
from tunewright.core.run import Run


def desk(
    run: Run,
    contestant: str,
    answers: Mapping[str, Mapping[str, str]],
    grader: str,
    models: Mapping[str, str] | None = None,
    *,
    confidences: Mapping[str, float | None] | None = None,
    logprobs: LogProbs | None = None,
) -> Desk:
    """The desk at which a grader grades one contestant's answers. models: the name of each contestant's model."""

    def poll(what: str, done: int, total: int) -> None:
        run.progress("evaluate", done=done, total=total, what=f"{grader} of {contestant}: {what}")

    name = re.sub(r"[^A-Za-z0-9._-]", "_", grader)

    def ask(endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
        return _asked(run, endpoint, questions, f"replies.{name}.jsonl", poll)

    return Desk(
        contestant=contestant,
        answers=answers,
        models=models or {},
        confidences=confidences or {},
        logprobs=logprobs,
        ask=ask,
        kept=Kept(run.path("evaluate", f"kept.{name}.jsonl")),
        poll=poll,
    )


class Kept(MutableMapping[str, Any]):
    """Values by key, in a file: each is written as it comes, and read again when the file is opened next."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _values(self) -> dict[str, Any]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return {row["key"]: row["value"] for row in storage.read_jsonl(self.path)} if self.path.exists() else {}

    def __setitem__(self, key: str, value: Any) -> None:
        storage.append_jsonl(self.path, {"key": key, "value": value}, point="answers")
        self._values[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __delitem__(self, key: str) -> None:
        raise TypeError("What was kept stays kept.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _asked(
    run: Run, endpoint: Endpoint, questions: Sequence[Question], name: str, poll: Callable[[str, int, int], None]
) -> list[Reply]:
    """Replies to questions, those of an earlier try from the file. Raises EndpointError, Stopped."""
    path = run.path("evaluate", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = [storage.digest([endpoint.url, endpoint.model, endpoint.extra, vars(question)]) for question in questions]
    kept = {row["key"]: Reply(**row["reply"]) for row in storage.read_jsonl(path)} if path.exists() else {}
    waiting = {key: question for key, question in zip(keys, questions, strict=True) if key not in kept}
    if waiting:
        names, total = list(waiting), len(set(keys))
        done = total - len(names)
        with Client(endpoint, stop=run.stop) as client:
            for number, reply in client.ask_all(waiting.values()):
                if isinstance(reply, EndpointError):
                    reply = Reply("", REFUSED)
                storage.append_jsonl(path, {"key": names[number], "reply": vars(reply)}, point="answers")
                kept[names[number]] = reply
                done += 1
                with suppress(Stopped):  # the client stops by itself, with what is under way in hand
                    poll("replies", done, total)
    return [kept[key] for key in keys]
