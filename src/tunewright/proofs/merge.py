"""Proof: the merged model answers like the base with the adapter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

BOUND = 1e-3


class Merge(Proof):
    """Merges, saves, opens again as a plain transformers model, and compares log-probs and shared embeddings, in
    float32.
    """

    claim: ClassVar[str] = "The merged model equals the base with what was trained; tied embeddings survive saving"
    when: ClassVar[str] = "after"

    def prove(self, subject: Subject) -> ProofResult:
        """Largest log-prob difference on probes, after a round trip over the disk."""
        import torch

        from tunewright.core.recipe import ModelOptions
        from tunewright.models.tunable import open_model

        assert subject.open_tuned is not None
        tuned = subject.open_tuned()
        rows = [
            row
            for e in subject.examples
            for row in subject.objective.encode(e, tuned.chat, max_tokens=subject.max_tokens)
        ]
        forest = tuned.forest(rows)
        with torch.no_grad(), tempfile.TemporaryDirectory(dir=subject.folder) as folder:
            before = tuned.said(forest)
            tied = tuned.is_tied
            subject.method.merge(tuned.net)
            tuned.save(Path(folder))
            again = open_model(ModelOptions(base=folder), device=str(tuned.device))
            gap = float((again.said(forest) - before).abs().max())
            still = again.is_tied
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{gap:.1e} nats; embeddings {_word(tied)} before, {_word(still)} after",
            bound=f"{BOUND:.0e} nats, unchanged",
            holds=gap <= BOUND and tied == still,
        )


def _word(tied: bool) -> str:
    return "tied" if tied else "apart"
