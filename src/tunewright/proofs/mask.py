"""Proof: what is learned is the answers, whole, and nothing else."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult


class Mask(Proof):
    """Decodes the learned tokens of every training row and compares them with the assistant's own words."""

    claim: ClassVar[str] = "The learned tokens are exactly the answers with their end of turn, in every row"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Count rows whose learned span, decoded, is not the answer; rows that `max_tokens` cut may end early."""
        chat = subject.open_chat()
        if subject.objective.by_head:
            measured = "a head learns: no tokens are said"
            return ProofResult(name=self.kind, claim=self.claim, measured=measured, bound="0 rows differ", holds=True)
        wrong, total, first = 0, 0, ""
        for example, rows in subject.encoded():
            for row in rows:
                total += 1
                learned = [item for item, weight in zip(row.items, row.weights, strict=True) if weight > 0]
                if not self._right(learned, row.cut, subject, example, chat):
                    wrong += 1
                    first = first or example.id
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{wrong} of {total} rows differ" + (f" (first: {first})" if first else ""),
            bound="0 rows differ",
            holds=wrong == 0 and total > 0,
        )

    @staticmethod
    def _right(learned: list[int], cut: bool, subject: Subject, example: object, chat: object) -> bool:
        from tunewright.core.example import Example
        from tunewright.models.chat import Chat

        assert isinstance(example, Example) and isinstance(chat, Chat)
        if not learned:
            return False
        if example.text is not None or getattr(subject.objective, "learn", "answers") == "all":
            return True  # every token is learned, so there is no mask to be wrong
        said = chat.decode(learned).strip()
        answers = [message.content.strip() for message in example.messages if message.role == "assistant"]
        answers += [message.content.strip() for message in example.rejected or []]
        answers += [chat.readable(answer).strip() for answer in answers]
        if cut:
            return any(answer.startswith(said) for answer in answers) or said == ""
        ends = learned[-1] in chat.stop_ids
        return ends and any(_same(said, answer) for answer in answers)


def _same(said: str, answer: str) -> bool:
    # a template may write tool calls or an empty thought around the words of an answer
    return said == answer or (answer != "" and answer in said) or (answer == "" and said != "")
