"""Proof: computing rows together is the same as computing each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult
from tunewright.proofs import _gradients

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

LOSS_BOUND = 1e-5
GRADIENT_BOUND = 1e-4


class Packing(Proof):
    """Loss and gradient of one forest against the sum over its examples, each alone and with nothing shared."""

    claim: ClassVar[str] = "Loss and gradient of the forest equal those of the rows alone"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Relative difference of loss and of the whole gradient."""
        import torch

        objective, units = subject.objective, _gradients.probes(subject)

        def computed(model: TunableModel, groups: list[list[Row]], *, share: bool) -> float:
            total = 0.0
            with torch.no_grad():
                whole = objective.for_step(model, units, micro_tokens=_gradients.PROBE_TOKENS, share=share)
            for group in groups:
                terms = whole.loss(model, model.forest(group, share=share)).terms
                loss = sum(value * weight for value, weight in terms.values())
                loss.backward()
                total += float(loss.detach())
            return total

        loss, gradient, number_format = _gradients.compared(
            subject,
            lambda model: computed(model, [[row for unit in units for row in unit]], share=True),
            lambda model: computed(model, [unit for unit in units if unit], share=False),
            bound=GRADIENT_BOUND,
        )
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"loss {loss:.1e}, gradient {gradient:.1e} relative over {len(units)} examples, {number_format}",
            bound=f"loss {LOSS_BOUND:.0e}, gradient {GRADIENT_BOUND:.0e}",
            holds=loss <= LOSS_BOUND and gradient <= GRADIENT_BOUND,
        )
