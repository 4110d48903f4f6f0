"""What texts of a step are to each other, and the losses over cosines. Letters: R rows, A anchors, C candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Row

ANCHOR, POSITIVE, NEGATIVE = 0, 1, 2  # slots


@dataclass(frozen=True)
class Relations:
    """anchors, candidates: row numbers. positive: what must be near an anchor; negative: what may be far from it.

    own: the candidates of an anchor's own unit; target: what the cosine with each candidate should be.
    """

    anchors: np.ndarray
    candidates: np.ndarray
    positive_AC: np.ndarray
    negative_AC: np.ndarray
    own_AC: np.ndarray
    target_AC: np.ndarray

    @property
    def compared_AC(self) -> np.ndarray:
        """Pairs for the regression of cosines: those of the units, or all where no unit has a pair."""
        known = np.asarray(self.positive_AC | self.negative_AC)
        own = np.asarray(known & self.own_AC)
        return own if own.any() else known

    @property
    def usable_A(self) -> np.ndarray:
        """Anchors that have both something near and something far."""
        return np.asarray(self.positive_AC.any(1) & self.negative_AC.any(1))

    def count(self, loss: str) -> float:
        """What the sum of the loss is divided by: pairs for `cosine`, else usable anchors."""
        return float(self.compared_AC.sum() if loss == "cosine" else self.usable_A.sum())


def relations(rows: Sequence[Row], *, labelled: bool) -> Relations:
    """How the rows of a step relate.

    labelled: a row's target is its label, and rows of one label belong together; else a unit is an anchor (slot 0), its
    positive (1) and perhaps a negative (2), and the anchor's target its score. No negative has the anchor's text or
    label, its positive's text, or belongs to an anchor of the same text.
    """
    texts: dict[tuple[int, ...], int] = {}
    text_R = np.array([texts.setdefault(tuple(row.items), len(texts)) for row in rows])
    names: dict[str, int] = {}
    unit_R = np.array([names.setdefault(row.example, len(names)) for row in rows])
    slot_R = np.array([row.slot for row in rows])
    target_R = np.array([row.target[0] if row.target else 1.0 for row in rows])
    anchors = np.flatnonzero(slot_R == ANCHOR)
    candidates = np.arange(len(rows)) if labelled else np.flatnonzero(slot_R != ANCHOR)
    at, to = anchors[:, None], candidates[None, :]
    same_text = text_R[at] == text_R[to]
    own = (unit_R[at] == unit_R[to]) & (slot_R[to] != ANCHOR)
    if labelled:
        same_label = target_R[at] == target_R[to]
        positive, negative = same_label & ~same_text, ~same_label & ~same_text
        target = positive.astype(float)
    else:
        positive = own & (slot_R[to] == POSITIVE)
        text_of_anchor, text_of_positive = np.full(len(names), -1), np.full(len(names), -1)
        text_of_anchor[unit_R[anchors]] = text_R[anchors]
        positives = np.flatnonzero(slot_R == POSITIVE)
        text_of_positive[unit_R[positives]] = text_R[positives]
        same_question = (text_of_anchor[unit_R[at]] == text_of_anchor[unit_R[to]]) & ~own
        near = same_text | same_question | (text_of_positive[unit_R[at]] == text_R[to])
        negative = ~positive & ~near
        target = np.where(positive, target_R[at], 0.0)
    return Relations(anchors, candidates, positive, negative, own, target)


def losses(
    kind: str, vectors_RD: torch.Tensor, related: Relations, *, scale: float, margin: float, sizes: Sequence[int]
) -> torch.Tensor:
    """The loss of each anchor (A): the mean over the sizes to which vectors are cut (arXiv 2205.13147, eq. 1)."""
    import torch

    parts = [_loss(kind, cosines(vectors_RD[:, :size], related), related, scale=scale, margin=margin) for size in sizes]
    return torch.stack(parts).mean(0)


def cosines(vectors_RD: torch.Tensor, related: Relations) -> torch.Tensor:
    """The cosine of each anchor with each candidate (A C)."""
    import torch

    unit_RD = torch.nn.functional.normalize(vectors_RD, dim=-1)
    at, to = (torch.from_numpy(places).to(unit_RD.device) for places in (related.anchors, related.candidates))
    return unit_RD[at] @ unit_RD[to].T


def _loss(kind: str, cos_AC: torch.Tensor, related: Relations, *, scale: float, margin: float) -> torch.Tensor:
    import torch

    def mask(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(cos_AC.device)

    if kind == "cosine":
        target_AC = mask(related.target_AC).to(cos_AC.dtype)
        return ((cos_AC - target_AC).square() * mask(related.compared_AC)).sum(1)
    usable_AC = mask(related.positive_AC & related.usable_A[:, None])
    lowest = torch.finfo(cos_AC.dtype).min / 2
    if kind == "in_batch":
        logits_AC = scale * cos_AC
        far_A = logits_AC.masked_fill(~mask(related.negative_AC), lowest).logsumexp(1)
        each_AC = torch.logaddexp(logits_AC, far_A[:, None]) - logits_AC
    else:
        hard = related.own_AC & related.negative_AC
        chosen = mask(np.where(hard.any(1, keepdims=True), hard, related.negative_AC))
        nearest_A = cos_AC.masked_fill(~chosen, lowest).amax(1)
        each_AC = (margin + nearest_A[:, None] - cos_AC).relu()
    return (each_AC * usable_AC).sum(1) / usable_AC.sum(1).clamp_min(1)


def ranks(vectors_RD: torch.Tensor, related: Relations) -> tuple[np.ndarray, np.ndarray]:
    """Usable anchors (numbers among A), and the place of the nearest positive of each among it and the negatives."""
    cos_AC = cosines(vectors_RD, related).cpu().numpy()
    usable = np.flatnonzero(related.usable_A)
    best = np.where(related.positive_AC, cos_AC, -np.inf).max(1, initial=-np.inf)
    nearer = (cos_AC >= best[:, None]) & related.negative_AC
    return usable, 1 + nearer.sum(1)[usable]
