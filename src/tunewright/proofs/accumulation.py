"""Proof: cutting a step into micro-batches does not change its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult
from tunewright.proofs import _gradients

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

BOUND = 1e-4


class Accumulation(Proof):
    """The gradient of one step at once against the same step one example at a time."""

    claim: ClassVar[str] = "Gradients do not change with micro_tokens"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Relative difference of the whole gradient."""
        units: dict[str, list[Row]] = {}
        for rows in _gradients.probes(subject):
            for row in rows:
                units.setdefault(row.example, []).append(row)

        def computed(model: TunableModel, micro_tokens: int) -> float:
            step = list(units.values())
            found = subject.gradients(model, subject.objective, step, micro_tokens=micro_tokens, share=True)
            return float(found[0])

        _, gap, number_format = _gradients.compared(
            subject, lambda model: computed(model, 10**9), lambda model: computed(model, 1), bound=BOUND
        )
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{gap:.1e} relative, {len(units)} examples at once against one at a time, {number_format}",
            bound=f"{BOUND:.0e}",
            holds=gap <= BOUND,
        )
