"""Architectures whose layers are known: while a forest is computed, a layer goes through functions that keep little.

Weights, their names and the net itself stay as they are; a layer of any other kind simply runs as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from tunewright.models import lean
from tunewright.models.attention import attend
from tunewright.models.attention_plan import ForestPlan
from tunewright.models.beside import stood_for
from tunewright.models.lora_layers import LoraLinear
from tunewright.models.own_weights import decoder_layers

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Family:
    """Layers of one architecture: RMSNorm, attention with rotary positions, RMSNorm, a gated feed-forward part.

    head_norms: queries and keys are normalised, head by head. window: the sliding window of an attention module.
    """

    head_norms: bool = False
    window: Callable[[Any], int | None] = lambda attention: None


FAMILIES = {
    "LlamaDecoderLayer": Family(),
    "MistralDecoderLayer": Family(window=lambda attention: attention.config.sliding_window),
    "Qwen2DecoderLayer": Family(window=lambda attention: attention.sliding_window),
    "Qwen3DecoderLayer": Family(window=lambda attention: attention.sliding_window, head_norms=True),
}


@contextmanager
def swapped(net: nn.Module, *, wanted: torch.Tensor | None = None) -> Iterator[bool]:
    """While this holds, known layers compute forests with little kept.

    wanted: the tokens whose hidden states are asked for. Yields whether the last layer gives those alone.
    """
    layers: list[Any] = list(decoder_layers(net)[1])
    known = [layer for layer in layers if _is_known(layer)]
    for layer in known:
        only = wanted if layer is layers[-1] else None
        layer.forward = partial(_forward, layer, FAMILIES[type(layer).__name__], only)
    try:
        yield wanted is not None and layers[-1] in known
    finally:
        for layer in known:
            del layer.forward


def all_known(net: nn.Module) -> bool:
    """Whether every layer of a net goes through these functions."""
    return all(_is_known(layer) for layer in decoder_layers(net)[1])


def _is_known(layer: Any) -> bool:
    """Whether this is a layer of a known family that nobody else stands in for, made of plain linear layers."""
    return (
        type(layer).__name__ in FAMILIES
        and "forward" not in layer.__dict__
        and all(stood_for(part) is None for part in layer.children())
        and all(stood_for(part) is None or _is_plain(part) for part in layer.self_attn.children())
        and layer.mlp.config.hidden_act in ("silu", "swish")
        and all(_is_plain(layer.self_attn.get_submodule(name)) for name in PROJECTIONS)
        and all(_is_plain(layer.mlp.get_submodule(name)) for name in FEED_FORWARD)
    )


def _is_plain(module: nn.Module) -> bool:
    if isinstance(module, LoraLinear):
        return type(module.base) is nn.Linear and module.one_adapter
    return type(module) is nn.Linear


def _projection(module: nn.Module) -> lean.Projection:
    if isinstance(module, LoraLinear):
        return lean.Projection(module.base.weight, module.base.bias, *module.acting())  # type: ignore[arg-type]
    return lean.Projection(module.weight, module.bias)  # type: ignore[arg-type]


def _forward(
    layer: Any,
    family: Family,
    wanted: torch.Tensor | None,
    hidden_states: torch.Tensor,
    *,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    forest_plan: ForestPlan,
    **_: object,
) -> torch.Tensor:
    """One layer (1ND), as transformers calls it."""
    attention, mlp = layer.self_attn, layer.mlp
    x = hidden_states[0]
    cos, sin = (part[0] for part in position_embeddings)
    q, k, v = (
        part.unflatten(1, (-1, attention.head_dim))
        for part in _linears(layer.input_layernorm, x, attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if family.head_norms:
        q = lean.normed(q, attention.q_norm.weight, attention.q_norm.variance_epsilon)
        k = lean.normed(k, attention.k_norm.weight, attention.k_norm.variance_epsilon)
    q, k, v = (part.transpose(0, 1)[None] for part in (lean.rotated(q, cos, sin), lean.rotated(k, cos, sin), v))
    attended = attend(
        attention,
        q,
        k,
        v,
        None,
        scaling=attention.scaling,
        forest_plan=forest_plan,
        sliding_window=family.window(attention),
    )[0][0].flatten(1)
    if wanted is not None:  # after the last layer nobody asks for the other tokens
        x, attended = x.index_select(0, wanted), attended.index_select(0, wanted)
    x = x + lean.linears(lean.Plain(), (attended,), [_projection(attention.o_proj)])[0]
    gate, up = _linears(layer.post_attention_layernorm, x, mlp.gate_proj, mlp.up_proj)
    return (x + lean.linears(lean.SwiGLU(), (gate, up), [_projection(mlp.down_proj)])[0])[None]


def _linears(norm: Any, x: torch.Tensor, *modules: nn.Module) -> tuple[torch.Tensor, ...]:
    source = lean.RMSNorm(norm.variance_epsilon)
    return lean.linears(source, (x, norm.weight), [_projection(module) for module in modules])
