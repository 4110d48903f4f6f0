"""Another scale for the weights of a Llama, with the same function.

What follows an RMSNorm does not feel the scale of what goes into it, so factors can be moved between neighbouring
weights. An optimizer feels it: AdamW moves each weight by about the learning rate, whatever its size. A base with
weights ten times as large as those of a fresh model learns ten times as slowly at the same rate.
"""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def rescaled(net: Any, *, matrices: float, embedding: float) -> None:
    """Bring the root mean square of gate, query and key matrices to `matrices`, of the tied embedding to `embedding`.

    In place. The other matrices follow from keeping the function; RMSNorm's epsilon is scaled with its input.
    """
    shrink = embedding / _size(net.model.embed_tokens.weight)
    net.model.embed_tokens.weight *= shrink
    net.model.norm.weight /= shrink
    for layer in net.model.layers:
        attention, feed = layer.self_attn, layer.mlp
        query, key, value, out = (getattr(attention, f"{name}_proj").weight for name in "qkvo")
        gate, up, down = (getattr(feed, f"{name}_proj").weight for name in ("gate", "up", "down"))
        out *= shrink
        down *= shrink
        for before, inner, size in (
            (layer.input_layernorm.weight, (query, key, value), (_size(query) * _size(key)) ** 0.5),
            (layer.post_attention_layernorm.weight, (gate, up), _size(gate)),
        ):
            before *= size / matrices
            for weight in inner:
                weight /= size / matrices
        for first, second in ((query, key), (value, out), (up, down)):  # a pair whose product is all that counts
            balance = (_size(first) / _size(second)) ** 0.5
            first /= balance
            second *= balance
    net.config.rms_norm_eps *= shrink**2


def _size(weight: torch.Tensor) -> float:
    return float(weight.double().square().mean().sqrt())
