"""Proof: the model that training started from has not moved."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

BOUND = 1e-5


class Reference(Proof):
    """The base as the phase started equals the tuned model at step 0, and what was frozen is bit for bit what it was.

    The method attached but not trained must answer like the base; after training, with the method switched off, the
    probes' log-probs must again be the base's, and every frozen tensor must have the digest it had.
    """

    claim: ClassVar[str] = "The reference equals the model at step 0 and has not moved after training"
    when: ClassVar[str] = "after"

    def prove(self, subject: Subject) -> ProofResult:
        """Largest log-prob difference on probes at step 0 and after training, and frozen tensors that changed."""
        import torch

        from tunewright.core.errors import CannotMerge

        base = subject.open_base()
        rows = [
            row
            for e in subject.examples
            for row in subject.objective.encode(e, base.chat, max_tokens=subject.max_tokens)
        ]
        forest = base.forest(rows)
        with torch.no_grad():
            untouched = base.said(forest)
            subject.method.attach(base.net, seed=subject.seed)
            start_gap = float((base.said(forest) - untouched).abs().max())
        assert subject.open_tuned is not None
        tuned = subject.open_tuned()
        try:
            with torch.no_grad(), subject.method.off(tuned.net):
                moved = float((tuned.said(forest)[: len(untouched)] - untouched).abs().max())
                later = f"{moved:.1e} with the method off after training"
        except CannotMerge:
            later, moved = "the method trains the base's own weights", 0.0
        changed, frozen = self._changed(subject, tuned), len(subject.frozen_before or {})
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{start_gap:.1e} at step 0; {later}; {changed} of {frozen} frozen tensors changed",
            bound=f"{BOUND:.0e}, 0 tensors",
            holds=start_gap <= BOUND and moved <= BOUND and changed == 0,
        )

    @staticmethod
    def _changed(subject: Subject, tuned: object) -> int:
        from tunewright.models.own_weights import digests
        from tunewright.models.tunable import TunableModel

        assert isinstance(tuned, TunableModel)
        before = subject.frozen_before or {}
        now = digests(tuned.net, set(before))
        return sum(now.get(name) != digest for name, digest in before.items())
