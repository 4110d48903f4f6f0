"""Proof: the model that training started from has not moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tunewright.core.parts import Proof, Subject
from tunewright.core.report import ProofResult

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

BOUND = 1e-5
HALF_BOUND = 2e-2  # of values that were computed in a half format


class Reference(Proof):
    """The base as the phase started equals the tuned model at step 0, and what was frozen is bit for bit what it was.

    The method attached but not trained must answer like the base (switched off, where it begins elsewhere); after
    training, with the method switched off, the probes' log-probs must again be the base's, and every frozen tensor must
    have the digest it had. All is computed as the transformers library does it; where float32 rounding passes the bound
    (adapters that start from a part of the base), float64 decides. Where the loss compares with stored log-probs of the
    reference, a fresh base must find the same for the probes (relative: they are sums over an answer).
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
        later = (
            "the method trains the base's own weights"
            if moved is None
            else f"{moved:.1e} with the method off after training"
        )
        assert subject.open_as_trained is not None
        changed, frozen = self._changed(subject, subject.open_as_trained()), len(subject.frozen_before or {})
        stored_gap, stored_bound, stored = self._stored(subject)
        return ProofResult(
            name=self.kind,
            claim=self.claim,
            measured=f"{start_gap:.1e} at step 0; {later}; {stored}{changed} of {frozen} frozen tensors changed",
            bound=f"{BOUND:.0e}, {f'{stored_bound:.0e} relative, ' if stored else ''}0 tensors",
            holds=max(start_gap, moved or 0.0) <= BOUND and stored_gap <= stored_bound and changed == 0,
        )

    @staticmethod
    def _gaps(subject: Subject, dtype: torch.dtype) -> tuple[float, float | None]:
        """Largest log-prob differences at step 0, and with the method off after training where it can be."""
        import torch

        from tunewright.core.errors import CannotMerge
        from tunewright.models import new_rows

        base = subject.open_base()
        _in(base, dtype)
        forest = base.forest(_rows(subject, base))
        with torch.no_grad():
            untouched = base.said(forest)
            subject.method.attach(base.net, seed=subject.seed)
            new_rows.attach(base.net, thaws=subject.method.thaws)
            _in(base, dtype)  # what a method puts in comes in float32
            with nullcontext() if subject.method.starts_as_base else subject.method.off(base.net):
                start_gap = float((base.said(forest) - untouched).abs().max())
        assert subject.open_as_trained is not None
        tuned = subject.open_as_trained()
        _in(tuned, dtype)
        try:
            with torch.no_grad(), subject.method.off(tuned.net):
                return start_gap, float((tuned.said(forest)[: len(untouched)] - untouched).abs().max())
        except CannotMerge:
            return start_gap, None

    @staticmethod
    def _stored(subject: Subject) -> tuple[float, float, str]:
        """How far the stored log-probs of the probes are from a fresh base's, how far they may be, and in words."""
        import torch

        from tunewright.models.reference import STORED, Values

        if not subject.objective.uses_reference or subject.objective.on_policy:  # whose rows were not there before
            return 0.0, BOUND, ""
        base = subject.open_base()
        rows = _rows(subject, base)
        with torch.no_grad():
            fresh = base.logprobs(base.forest(rows)).tolist()
        values, dtype = Values.load(subject.folder / STORED), Values.format_of(subject.folder / STORED)
        known = values.of(rows) if values is not None else [None] * len(rows)
        gaps = [abs(one - other) / abs(other) for one, other in zip(known, fresh, strict=True) if one is not None]
        missing = len(rows) - len(gaps)
        gap = max(gaps, default=0.0) if not missing else math.inf
        bound = BOUND if dtype == "float32" else HALF_BOUND
        lost = f", {missing} of {len(rows)} probes not stored" if missing else ""
        return gap, bound, f"stored values {max(gaps, default=0.0):.1e} relative{lost}; "

    @staticmethod
    def _changed(subject: Subject, tuned: TunableModel) -> int:
        from tunewright.models.own_weights import digests

        before = subject.frozen_before or {}
        now = digests(tuned.net, set(before))
        return sum(now.get(name) != digest for name, digest in before.items())


def _in(model: TunableModel, dtype: torch.dtype) -> None:
    """In a number format, and through plain layers: the same sums whatever stands beside the base."""
    model.plain, net = True, cast(Any, model.net)
    net.to(dtype)


def _rows(subject: Subject, model: TunableModel) -> Sequence[Row]:
    """The probes' rows."""
    return [
        row for e in subject.examples for row in subject.objective.encode(e, model.chat, max_tokens=subject.max_tokens)
    ]
