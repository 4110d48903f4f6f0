"""Proof: computing rows together is the same as computing each alone."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

LOSS_BOUND = 1e-5
GRADIENT_BOUND = 1e-4


class Packing(Proof):
    """Loss and gradient of one forest against the sum over its rows, each in a forward pass of its own, in float32."""

    claim: ClassVar[str] = "Loss and gradient of the forest equal those of the rows alone"
    when: ClassVar[str] = "before"

    def prove(self, subject: Subject) -> ProofResult:
        """Relative difference of loss and of the whole gradient."""
        import torch

        from tunewright.models.forest import Forest

        model = subject.open_base()
        subject.method.attach(model.net, seed=subject.seed)
        objective = subject.objective
        chat = model.chat
        rows = [
            row for e in subject.examples for row in objective.encode(e, chat, max_tokens=min(512, subject.max_tokens))
        ]
        trained = [p for p in model.net.parameters() if p.requires_grad]
        _nudge(trained)

        def measured(groups: list[list]) -> tuple[float, torch.Tensor]:  # type: ignore[type-arg]
            for parameter in trained:
                parameter.grad = None
            total = 0.0
            for group in groups:
                loss = sum(
                    value * weight
                    for value, weight in objective.loss(model, Forest.build(group, device=model.device)).terms.values()
                )
                loss.backward()
                total += float(loss.detach())
            return total, torch.cat(
                [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]
            ).double()

        together, gradient = measured([rows])
        units: dict[str, list] = {}  # type: ignore[type-arg]
        for row in rows:
            units.setdefault(
                row.example if len(objective.counts([row])) == 0 else f"{row.example}/{row.slot}", []
            ).append(row)
        alone, gradient_alone = measured(list(units.values()))
        loss_gap = abs(together - alone) / max(abs(alone), 1e-12)
        gradient_gap = float((gradient - gradient_alone).norm() / gradient_alone.norm().clamp_min(1e-30))
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"loss {loss_gap:.1e}, gradient {gradient_gap:.1e} relative over {len(rows)} rows",
            bound=f"loss {LOSS_BOUND:.0e}, gradient {GRADIENT_BOUND:.0e}",
            holds=loss_gap <= LOSS_BOUND and gradient_gap <= GRADIENT_BOUND,
        )


def _nudge(parameters: list) -> None:  # type: ignore[type-arg]
    """Move matrices that are all zero a little (LoRA's B): a gradient through zero would prove nothing."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
