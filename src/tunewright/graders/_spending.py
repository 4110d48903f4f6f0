"""What asking a model came to: how many replies, how many of no use, tokens, money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tunewright.core.endpoint import Endpoint, Question, Reply
from tunewright.core.parts import Desk
from tunewright.core.report import Finding
from tunewright.graders._judging import Reader, once_more, refused

T = TypeVar("T")
MOST_SILENT = 0.05  # more answers than this share without a verdict, and the rest may be no fair sample of all


@dataclass
class Asked:
    """Verdicts of a model on many questions, and what they cost."""

    endpoint: Endpoint
    replies: int = 0
    refused: int = 0
    unreadable: int = 0
    unlike: list[str] = field(default_factory=list)  # the first of the replies that could not be read
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def ask(self, desk: Desk, questions: Sequence[Question], read: Reader[T]) -> list[T | None]:
        """What was read from each reply; one that cannot be read is asked for once more, then None."""
        return self.ask_each(desk, questions, [read] * len(questions))

    def ask_each(self, desk: Desk, questions: Sequence[Question], reads: Sequence[Reader[T]]) -> list[T | None]:
        """As `ask`, where each reply is read in its own way."""
        replies = self._counted(desk.ask(self.endpoint, questions))
        found = [None if refused(reply) else read(reply.text) for read, reply in zip(reads, replies, strict=True)]
        places = [at for at, reply in enumerate(replies) if found[at] is None and not refused(reply)]
        if places:
            again = self._counted(desk.ask(self.endpoint, [once_more(questions[at], replies[at]) for at in places]))
            for at, reply in zip(places, again, strict=True):
                found[at] = reads[at](reply.text)
                if found[at] is None:
                    self.unreadable += 1
                    self.unlike = self.unlike or [" ".join(reply.text.split())[:120]]
        self.refused += sum(refused(reply) for reply in replies)
        return found

    def _counted(self, replies: list[Reply]) -> list[Reply]:
        self.replies += len(replies)
        self.prompt_tokens += sum(reply.prompt_tokens for reply in replies)
        self.completion_tokens += sum(reply.completion_tokens for reply in replies)
        return replies

    def figures(self) -> dict[str, Any]:
        """For the report."""
        money = self.endpoint.cost(self.prompt_tokens, self.completion_tokens)
        found = {
            "model": self.endpoint.model,
            "replies": self.replies,
            "refused": self.refused,
            "unreadable": self.unreadable,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }
        return found if money is None else found | {"money": round(money, 6)}

    def tell(self, desk: Desk, silent: int, total: int) -> None:
        """Leave at the desk how many of the answers have no verdict; too many, and the figure must not decide."""
        if not silent:
            return
        seen = f" One of its replies: '{self.unlike[0]}'." if self.unlike else ""
        message = (
            f"The judging model '{self.endpoint.model}' gave no verdict on {silent} of {total} answers of "
            f"{desk.contestant} ({self.refused} replies refused, {self.unreadable} not readable); they are left out."
        )
        remedy = "Raise max_tokens, or take another model."
        desk.findings.append(
            Finding(name="not judged", severity="warning", message=message + seen, count=silent, remedy=remedy)
        )
        if silent > MOST_SILENT * total:
            desk.doubts.append(f"{silent} of {total} answers have no verdict, so the others may be no fair sample.")
