"""Proof: no test row was seen in training."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult


class Split(Proof):
    """Looks for each test and validation question among the training questions, exactly and with case, space and
    punctuation folded.
    """

    claim: ClassVar[str] = "No test or validation row has an exact or normalised twin in training"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Count twins across splits."""
        from tunewright.data.clean import twin_key

        seen = {twin_key(example) for example in subject.splits.get("train", ())}
        twins = {
            name: sum(twin_key(example) in seen for example in subject.splits.get(name, ()))
            for name in ("test", "validation")
        }
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{twins['test']} twins in test, {twins['validation']} in validation",
            bound="0 twins",
            holds=not any(twins.values()),
        )
