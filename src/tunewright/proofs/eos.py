"""Proof: the end of an answer is learned."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult


class Eos(Proof):
    """Looks for the end-of-turn token, with weight, at the end of each whole row: without it answers never stop."""

    claim: ClassVar[str] = "Every whole row ends with a learned end token, even where it equals the padding token"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Count whole rows whose last learned token is not an end token."""
        chat = subject.open_chat()
        if subject.objective.by_head:
            measured = "a head learns: no answer ends"
            return ProofResult(name=self.kind, claim=self.claim, measured=measured, bound="0 rows", holds=True)
        wrong = total = 0
        for example, rows in subject.encoded():
            whole = rows[-1:] if example.text is not None else rows  # only the last piece of a document ends
            for row in whole:
                if row.cut:
                    continue
                total += 1
                wrong += not (row.items[-1] in chat.stop_ids and row.weights[-1] > 0)
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{wrong} of {total} rows lack it",
            bound="0 rows",
            holds=wrong == 0,
        )
