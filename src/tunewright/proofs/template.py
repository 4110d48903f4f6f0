"""Proof: training, evaluation and serving send the same token ids."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult


class Template(Proof):
    """Encodes every probe three times: as a training row's context, as evaluation asks it, as the server reads a
    request.
    """

    claim: ClassVar[str] = "Token ids in training, evaluation and serving are identical for the same messages"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Count probes in which one of the three differs."""
        chat = subject.open_chat()
        differing = total = 0
        for example in subject.examples:
            rows = subject.objective.encode(example, chat, max_tokens=10**9)
            if example.text is not None or not rows:
                continue
            total += 1
            asked = subject.objective.question(example, chat)
            trained = rows[-1].items[: len(asked)]
            served = (
                subject.served_ids(chat, [m.for_template() for m in example.prompt])
                if subject.served_ids and not example.tools
                else asked
            )
            differing += not (trained == asked == served)
        measured = f"{differing} of {total} probes differ" if total else "plain documents: no template is used"
        return ProofResult(
            name=self.kind, claim=self.claim, measured=measured, bound="0 probes differ", holds=differing == 0
        )
