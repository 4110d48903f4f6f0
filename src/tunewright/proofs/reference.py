"""Proof: the model that training started from has not moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

if TYPE_CHECKING:
    import torch

BOUND = 1e-5


class Reference(Proof):
    """The base as the phase started equals the tuned model at step 0, and what was frozen is bit for bit what it was.

    The method attached but not trained must answer like the base; after training, with the method switched off, the
    probes' log-probs must again be the base's, and every frozen tensor must have the digest it had. All is
    computed as the transformers library does it; where float32 rounding passes the bound (adapters that start from a
    part of the base), float64 decides.
    """

    claim: ClassVar[str] = "The reference equals the model at step 0 and has not moved after training"
    when: ClassVar[str] = "after"

    def prove(self, subject: Subject) -> ProofResult:
        """Largest log-prob difference on probes at step 0 and after training, and frozen tensors that changed."""
        import torch

        for dtype in (torch.float32, torch.float64):
            start_gap, moved = self._gaps(subject, dtype)
            if max(start_gap, moved or 0.0) <= BOUND:
                break
        assert subject.open_tuned is not None
        changed, frozen = self._changed(subject, subject.open_tuned()), len(subject.frozen_before or {})
        later = (
            "the method trains the base's own weights"
            if moved is None
            else f"{moved:.1e} with the method off after training"
        )
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{start_gap:.1e} at step 0; {later}; {changed} of {frozen} frozen tensors changed",
            bound=f"{BOUND:.0e}, 0 tensors",
            holds=start_gap <= BOUND and (moved or 0.0) <= BOUND and changed == 0,
        )

    @staticmethod
    def _gaps(subject: Subject, dtype: torch.dtype) -> tuple[float, float | None]:
        """Largest log-prob differences at step 0, and with the method off after training where it can be."""
        import torch

        from tunewright.core.errors import CannotMerge
        from tunewright.models.forest import Forest

        base = subject.open_base()
        base.plain, net = True, cast(Any, base.net)  # the same sums whatever stands beside the base
        net.to(dtype)
        rows = [
            row
            for e in subject.examples
            for row in subject.objective.encode(e, base.chat, max_tokens=subject.max_tokens)
        ]
        forest = Forest.build(rows, device=base.device)
        with torch.no_grad():
            untouched = base.token_logprobs(forest)
            subject.method.attach(base.net, seed=subject.seed)
            start_gap = float((base.token_logprobs(forest) - untouched).abs().max())
        assert subject.open_tuned is not None
        tuned = subject.open_tuned()
        tuned.plain, net = True, cast(Any, tuned.net)
        net.to(dtype)
        try:
            with torch.no_grad(), subject.method.off(tuned.net):
                return start_gap, float((tuned.token_logprobs(forest) - untouched).abs().max())
        except CannotMerge:
            return start_gap, None

    @staticmethod
    def _changed(subject: Subject, tuned: object) -> int:
        from tunewright.models.own_weights import digests
        from tunewright.models.tunable import TunableModel

        assert isinstance(tuned, TunableModel)
        before = subject.frozen_before or {}
        now = digests(tuned.net, set(before))
        return sum(now.get(name) != digest for name, digest in before.items())
