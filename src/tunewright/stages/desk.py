"""The desks at which graders work: what a grader may ask of others, with replies kept in the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tunewright.core import storage
from tunewright.core.endpoint import Client, Endpoint, Question, Reply
from tunewright.core.errors import EndpointError
from tunewright.core.parts import Desk
from tunewright.core.run import Run


def desk(run: Run, contestant: str, answers: Mapping[str, Mapping[str, str]], grader: str) -> Desk:
    """The desk at which a grader grades one contestant's answers."""

    def poll(what: str, done: int, total: int) -> None:
        run.stop_if_asked()
        run.progress("evaluate", done=done, total=total, what=f"{grader} of {contestant}: {what}")

    def ask(endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
        return _asked(run, endpoint, questions, f"replies.{grader}.jsonl", poll)

    return Desk(contestant=contestant, answers=answers, ask=ask, poll=poll)


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
        names = list(waiting)
        with Client(endpoint, stop=run.stop) as client:
            for number, reply in client.ask_all(waiting.values()):
                if isinstance(reply, EndpointError):
                    raise reply
                storage.append_jsonl(path, {"key": names[number], "reply": vars(reply)}, point="answers")
                kept[names[number]] = reply
                poll("replies", len(kept), len(keys))
    return [kept[key] for key in keys]
