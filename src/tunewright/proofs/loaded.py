"""Proof: what was trained was saved, comes back, and does something."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult


class Loaded(Proof):
    """Opens the saved result anew and counts what the file holds, what the model took, and whether answers change."""

    claim: ClassVar[str] = (
        "No saved tensor is dropped on loading, and the tuned model answers differently from the base"
    )
    when: ClassVar[str] = "after"

    def prove(self, subject: Subject) -> ProofResult:
        """Tensors that differ between file and model, and the largest change on probes."""
        import torch
        from safetensors.torch import load_file

        assert subject.open_tuned is not None and subject.trained is not None
        tuned, base = subject.open_tuned(), subject.open_base()
        saved = [
            tensor for file in sorted(subject.trained.glob("*.safetensors")) for tensor in load_file(file).values()
        ]
        held = {(tuple(p.shape), float(p.double().sum())) for p in tuned.net.parameters()}
        dropped = sum((tuple(t.shape), float(t.double().sum())) not in held for t in saved)
        rows = [
            row
            for e in subject.examples
            for row in subject.objective.encode(e, base.chat, max_tokens=subject.max_tokens)
        ]
        forest = base.forest(rows)
        with torch.no_grad():
            untouched = base.said(forest)
            change = float((tuned.said(forest)[: len(untouched)] - untouched).abs().max())
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{dropped} of {len(saved)} tensors dropped; largest log-prob change {change:.2g}",
            bound="0 dropped, change above 0",
            holds=dropped == 0 and len(saved) > 0 and change > 0,
        )
