"""Attention over a forest and over a cache of live sequences, plugged into the transformers library.

One function is registered under the name "tunewright". It finds what to do in the keyword arguments that the model's
forward passes down: `forest_plan` (training, reading prompts) or `cache_step` (one new token for each live sequence, or
labels behind prompts). Without either it is plain causal attention. Shape letters: H heads, G key/value heads, N
tokens, D head size.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers import AttentionInterface

from tunewright.models import cuda_attention
from tunewright.models.attention_plan import Block, ForestPlan

if TYPE_CHECKING:
    from tunewright.models.cache import CacheStep
    from tunewright.models.scoring import NodeStep

NAME = "tunewright"


def forest_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: ForestPlan,
    *,
    scaling: float | None,
    dropout: float = 0.0,
    window: int | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each token attends to its ancestors and itself, or to its whole row.

    query 1HND, key and value 1GND; returns 1NHD.
    """
    special = softcap is not None or sinks is not None
    if plan.measured and not special and not dropout:

        def present(dtype: torch.dtype) -> cuda_attention.Attention:
            same = plan if dtype == plan.dtype else ForestPlan(plan.forest, dtype=dtype)
            return partial(_by_blocks, plan=same, scaling=scaling, window=window)

        other = cuda_attention.chosen(plan, query, key, window=plan.span(window), scaling=scaling, present=present)
        if other is not None:
            return other(query, key, value)
    return _by_blocks(
        query, key, value, plan, scaling=scaling, dropout=dropout, window=window, softcap=softcap, sinks=sinks
    )


def _by_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: ForestPlan,
    *,
    scaling: float | None,
    dropout: float = 0.0,
    window: int | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    special = softcap is not None or sinks is not None
    blocks = plan.blocks(window, masked=special)
    sizes = [block.stop - block.start for block in blocks]
    parts = zip(blocks, query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    gqa = query.shape[1] != key.shape[1]
    out = []
    for block, q, k, v in parts:
        if block.kind == "chain":
            causal = not plan.both_ways
            out.append(sdpa(q, k, v, is_causal=causal, scale=scaling, dropout_p=dropout, enable_gqa=gqa))
        elif block.kind == "nodes":
            out.append(_by_nodes(block, q, k, v, scaling, dropout, gqa))
        else:
            assert block.index_BL is not None and block.valid_N is not None
            q, k, v = (_padded(x, block.index_BL) for x in (q, k, v))
            if special:
                o = written_out(q, k, v, block.mask, scaling, softcap, sinks, dropout)
            elif block.kind == "padded" and block.mask is None:
                o = sdpa(q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=gqa)
            else:
                o = sdpa(q, k, v, attn_mask=block.mask, scale=scaling, dropout_p=dropout, enable_gqa=gqa)
            flat = o.transpose(0, 1).flatten(1, 2)  # HBLD -> H(BL)D
            out.append(flat.index_select(1, block.valid_N)[None])
    return torch.cat(out, 2).transpose(1, 2)


def attention_behind(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: ForestPlan,
    layer: int,
    *,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """As `forest_attention`, node by node, each token seeing what stands before its row as well."""
    sizes = [node.stop - node.start for node, _ in plan.behind]
    ks, vs = key.split(sizes, 2), value.split(sizes, 2)
    gqa = query.shape[1] != key.shape[1]
    out = []
    for number, ((node, before), q) in enumerate(zip(plan.behind, query.split(sizes, 2), strict=True)):
        line = (*node.above, number)
        known = [before.made[layer]] if before else []
        k, v = (
            torch.cat([*(pair[side] for pair in known), *(part[i] for i in line)], 2)
            for side, part in enumerate((ks, vs))
        )
        past = k.shape[2] - sizes[number]
        if not past and window is None and softcap is None and sinks is None:
            out.append(sdpa(q, k, v, is_causal=True, scale=scaling, enable_gqa=gqa))
            continue
        sees = torch.ones(sizes[number], k.shape[2], dtype=torch.bool, device=q.device).tril(past)
        if window is not None:
            sees = sees.triu(past - window + 1)
        if softcap is None and sinks is None:
            out.append(sdpa(q, k, v, attn_mask=sees, scale=scaling, enable_gqa=gqa))
        else:
            mask = torch.zeros(sees.shape, dtype=q.dtype, device=q.device).masked_fill_(~sees, float("-inf"))
            out.append(written_out(q, k, v, mask, scaling, softcap, sinks, 0.0))
    return torch.cat(out, 2).transpose(1, 2)


def _padded(x: torch.Tensor, index_BL: torch.Tensor) -> torch.Tensor:
    """1HND -> BHLD."""
    heads, size = x.shape[1], x.shape[3]
    rows = x[0].index_select(1, index_BL.flatten())
    return rows.view(heads, *index_BL.shape, size).transpose(0, 1)


def _by_nodes(
    block: Block, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float | None, dropout: float, gqa: bool
) -> torch.Tensor:
    sizes = [node.stop - node.start for node in block.nodes]
    qs, ks, vs = q.split(sizes, 2), k.split(sizes, 2), v.split(sizes, 2)
    out = []
    for number, node in enumerate(block.nodes):
        if not node.above:
            out.append(
                sdpa(
                    qs[number], ks[number], vs[number], is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=gqa
                )
            )
            continue
        line = (*node.above, number)
        k_line = torch.cat([ks[i] for i in line], 2)
        v_line = torch.cat([vs[i] for i in line], 2)
        size, total = sizes[number], k_line.shape[2]
        mask = torch.ones(size, total, dtype=torch.bool, device=q.device).tril(total - size)
        out.append(sdpa(qs[number], k_line, v_line, attn_mask=mask, scale=scaling, dropout_p=dropout, enable_gqa=gqa))
    return torch.cat(out, 2)


def written_out(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
    dropout: float,
) -> torch.Tensor:
    """Attention written out, for logit soft-capping (Gemma 2) and attention sinks (gpt-oss). BHLD."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores + mask
    if sinks is not None:
        scores = torch.cat([scores, sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1).to(scores.dtype)], -1)
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
    if sinks is not None:
        weights = weights[..., :-1]
    return torch.nn.functional.dropout(weights, dropout) @ v


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    forest_plan: ForestPlan | None = None,
    cache_step: CacheStep | NodeStep | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """The function that transformers calls in every layer."""
    options: dict[str, Any] = {"scaling": scaling, "window": sliding_window, "softcap": softcap, "sinks": s_aux}
    if cache_step is not None:
        return cache_step.attend(_layer(module), query, key, value, **options), None
    if forest_plan is not None:
        if forest_plan.prefixes is not None:
            key, value = forest_plan.prefixes.put(_layer(module), key, value)
        if forest_plan.captured is not None:
            forest_plan.captured[_layer(module)] = (key.detach(), value.detach())
        if forest_plan.before:
            return attention_behind(query, key, value, forest_plan, _layer(module), **options), None
        return forest_attention(query, key, value, forest_plan, dropout=dropout, **options), None
    if softcap is not None or s_aux is not None or (sliding_window is not None and sliding_window < query.shape[2]):
        raise NotImplementedError("Plain calls of a model with windowed, soft-capped or sink attention need a forest.")
    causal = attention_mask is None and bool(getattr(module, "is_causal", True))
    out = sdpa(query, key, value, attn_mask=attention_mask, is_causal=causal, scale=scaling,
               dropout_p=dropout, enable_gqa=query.shape[1] != key.shape[1])  # fmt: skip
    return out.transpose(1, 2), None


def _layer(module: torch.nn.Module) -> int:
    return int(module.layer_idx)  # type: ignore[arg-type]


AttentionInterface.register(NAME, attend)
