"""Proof: cutting a step into micro-batches does not change its gradient."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

BOUND = 1e-4


class Accumulation(Proof):
    """The gradient of one step at once against the same step one example at a time, in float32."""

    claim: ClassVar[str] = "Gradients do not change with micro_tokens"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Relative difference of the whole gradient."""
        import torch

        model = subject.open_base()
        subject.method.attach(model.net, seed=subject.seed)
        units: dict[str, list] = {}  # type: ignore[type-arg]
        for example in subject.examples:
            for row in subject.objective.encode(example, model.chat, max_tokens=min(512, subject.max_tokens)):
                units.setdefault(row.example, []).append(row)
        trained = [p for p in model.net.parameters() if p.requires_grad]

        def measured(micro_tokens: int) -> torch.Tensor:
            for parameter in trained:
                parameter.grad = None
            subject.gradients(model, subject.objective, list(units.values()), micro_tokens=micro_tokens, share=True)
            return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]).double()

        whole, pieces = measured(10**9), measured(1)
        gap = float((whole - pieces).norm() / whole.norm().clamp_min(1e-30))
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{gap:.1e} relative, {len(units)} examples at once against one at a time",
            bound=f"{BOUND:.0e}",
            holds=gap <= BOUND,
        )
