"""How far a model's next-token probabilities are from another's: KL over the vocabulary, in chunks of tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

from tunewright.models.forest import Forest
from tunewright.models.tunable import TunableModel

CHUNK_LOGITS = 8_000_000  # of one model at once


def kl_sum(
    model: TunableModel,
    forest: Forest,
    kept_KD: torch.Tensor,
    kept_logits: Callable[[torch.Tensor], torch.Tensor],
    *,
    temperature: float,
) -> torch.Tensor:
    """Sum over learned tokens of weight * KL(kept || model) in nats, differentiable in the model.

    kept_KD: hidden states of the other model at the same tokens; kept_logits makes its logits of them. Both are
    softened by `temperature`. Logits of a chunk are made again in the backward pass, so that full ones never exist.
    """
    hidden_KD = model.hidden(forest, wanted=forest.from_K)
    width = max(1, CHUNK_LOGITS // model.net.config.get_text_config().vocab_size)

    def part(hidden: torch.Tensor, kept: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = torch.log_softmax(kept_logits(kept) / temperature, -1)
        said = torch.log_softmax(model.logits(hidden) / temperature, -1)
        return ((wanted.exp() * (wanted - said)).sum(-1) * weight).sum()

    parts = [
        checkpoint(part, hidden, kept, weight, use_reentrant=False)
        for hidden, kept, weight in zip(
            hidden_KD.split(width), kept_KD.split(width), forest.weight_K.split(width), strict=True
        )
    ]
    return torch.stack(parts).sum() if parts else hidden_KD.sum() * 0.0
