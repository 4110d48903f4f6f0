"""Proof: exactly one token begins each row."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult


class Bos(Proof):
    """Counts begin tokens at the start of every training row: a doubled one shifts all that was learned before."""

    claim: ClassVar[str] = (
        "Each row begins with exactly one begin-of-sequence token, or with none where the model's format has none"
    )
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Count rows that begin otherwise than the model's format does."""
        chat = subject.open_chat()
        if chat.bos_id is None:
            return ProofResult(
                name=self.kind, claim=self.claim, measured="the model has no such token", bound="none", holds=True
            )
        # later pieces `id#k` of a document go on where the piece before ended
        leading = [
            _leading(row.items, chat.bos_id)
            for _, rows in subject.encoded()
            for row in rows
            if row.example.rpartition("#")[2] in (row.example, "0")
        ]
        expected = 1 if leading and leading[0] else 0
        wrong = sum(count != expected for count in leading)
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{wrong} of {len(leading)} rows begin otherwise than with {expected}",
            bound="0 rows",
            holds=wrong == 0,
        )


def _leading(items: list[int], token: int) -> int:
    count = 0
    while count < len(items) and items[count] == token:
        count += 1
    return count
