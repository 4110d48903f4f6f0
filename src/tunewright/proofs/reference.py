"""Proof: the model that training started from has not moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

if TYPE_CHECKING:
    from tunewright.models.forest import Row

BOUND = 1e-5
HALF_BOUND = 2e-2  # of values that were computed in a half format


class Reference(Proof):
    """The base as the phase started equals the tuned model at step 0, and what was frozen is bit for bit what it was.

    The method attached but not trained must answer like the base; after training, with the method switched off, the
    probes' log-probs must again be the base's, and every frozen tensor must have the digest it had. Where the loss
    compares with stored log-probs of the reference, a fresh base must find the same for the probes (relative: they are
    sums over an answer).
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
        stored, stored_gap, stored_bound = "", 0.0, BOUND
        with torch.no_grad():
            untouched = base.said(forest)
            if subject.objective.uses_reference and not subject.objective.on_policy:  # whose rows were not there before
                stored_gap, stored_bound, stored = self._stored(subject, rows, base.logprobs(forest).tolist())
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
            measured=f"{start_gap:.1e} at step 0; {later}; {stored}{changed} of {frozen} frozen tensors changed",
            bound=f"{BOUND:.0e}, {f'{stored_bound:.0e} relative, ' if stored else ''}0 tensors",
            holds=start_gap <= BOUND and moved <= BOUND and stored_gap <= stored_bound and changed == 0,
        )

    @staticmethod
    def _stored(subject: Subject, rows: Sequence[Row], fresh: Sequence[float]) -> tuple[float, float, str]:
        """How far the stored log-probs of the probes are from a fresh base's, how far they may be, and in words."""
        from tunewright.models.reference import STORED, Values

        values, dtype = Values.load(subject.folder / STORED), Values.format_of(subject.folder / STORED)
        known = values.of(rows) if values is not None else [None] * len(rows)
        gaps = [abs(one - other) / abs(other) for one, other in zip(known, fresh, strict=True) if one is not None]
        missing = len(rows) - len(gaps)
        gap = max(gaps, default=0.0) if not missing else math.inf
        bound = BOUND if dtype == "float32" else HALF_BOUND
        lost = f", {missing} of {len(rows)} probes not stored" if missing else ""
        return gap, bound, f"stored values {max(gaps, default=0.0):.1e} relative{lost}; "

    @staticmethod
    def _changed(subject: Subject, tuned: object) -> int:
        from tunewright.models.own_weights import digests
        from tunewright.models.tunable import TunableModel

        assert isinstance(tuned, TunableModel)
        before = subject.frozen_before or {}
        now = digests(tuned.net, set(before))
        return sum(now.get(name) != digest for name, digest in before.items())
