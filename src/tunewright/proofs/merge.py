"""Proof: the merged model answers like the base with the adapter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

if TYPE_CHECKING:
    from tunewright.models.forest import Forest
    from tunewright.models.tunable import TunableModel

BOUND = 1e-3


class Merge(Proof):
    """Merges, saves, opens again as a plain transformers model, and compares log-probs and shared embeddings, in
    float32. Where the base was quantised in training, it also tells how far the merged model is from that one.
    """

    claim: ClassVar[str] = "The merged model equals the base with what was trained; tied embeddings survive saving"
    when: ClassVar[str] = "after"

    def prove(self, subject: Subject) -> ProofResult:
        """Largest log-prob difference on probes, after a round trip over the disk."""
        import torch

        from tunewright.core.recipe import ModelOptions
        from tunewright.models import new_rows
        from tunewright.models.opening import open_model

        assert subject.open_tuned is not None
        if not subject.method.mergeable:
            measured = f"not measured: method '{subject.method.kind}' cannot be merged, its adapter is what is released"
            return ProofResult(name=self.kind, claim=self.claim, measured=measured, bound="none", holds=True)
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
            new_rows.merge(tuned.net)
            tuned.save(Path(folder))
            again = open_model(ModelOptions(base=folder), device=str(tuned.device))
            gap = float((again.said(forest) - before).abs().max())
            still = again.is_tied
            quantised = f"; {_from_quantised(subject, again, forest)}" if subject.method.quantised else ""
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{gap:.1e} nats; embeddings {_word(tied)} before, {_word(still)} after{quantised}",
            bound=f"{BOUND:.0e} nats, unchanged",
            holds=gap <= BOUND and tied == still,
        )


def _from_quantised(subject: Subject, merged: TunableModel, forest: Forest) -> str:
    """How the answers of the merged model differ from those of the model that was trained."""
    import torch

    assert subject.open_as_trained is not None
    trained = subject.open_as_trained()
    ours, theirs = (
        torch.log_softmax(model.logits(model.hidden(forest, wanted=forest.from_K)), -1) for model in (merged, trained)
    )
    divergence = float((theirs.exp() * (theirs - ours)).sum(-1).mean())
    same = float((ours.argmax(-1) == theirs.argmax(-1)).float().mean())
    return f"from the quantised model: KL {divergence:.1e} nats, the same likeliest token at {same:.1%} of places"


def _word(tied: bool) -> str:
    return "tied" if tied else "apart"
