"""Attention over a forest and over a cache of live sequences, plugged into the transformers library.

One function is registered under the name "tunewright". It finds what to do in the keyword arguments that the model's
forward passes down: `forest_plan` (training, reading prompts) or `cache_step` (one new token for each live sequence, or
labels behind prompts). Without either it is plain causal attention. Shape letters: H heads, G key/value heads, N
tokens, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers import AttentionInterface

from tunewright.models.forest import Forest, Node

if TYPE_CHECKING:
    from tunewright.models.cache import CacheStep
    from tunewright.models.scoring import NodeStep

NAME = "tunewright"
NODE_COST = 20_000  # what starting one more kernel costs, in query-key pairs
LONG_CHAIN = 96  # chains at least this long are computed one by one; shorter ones are padded together
MASK_BUDGET = 16_000_000  # elements of a mask held at once


@dataclass
class Block:
    """Neighbouring trees computed by one kernel call (or one loop): forest positions start..stop-1."""

    start: int
    stop: int
    kind: str  # "chain", "padded", "masked" or "nodes"
    lengths: list[int] = field(default_factory=list)
    index_BL: torch.Tensor | None = None  # padded, masked: position inside the block of each (tree, token)
    valid_N: torch.Tensor | None = None  # where each token stands in the padded layout, flattened
    mask: torch.Tensor | None = None
    nodes: list[Node] = field(default_factory=list)


class ForestPlan:
    """How the attention of one forest is computed; made once and used by every layer.

    both_ways: every token of a row sees every other one, as in encoders. Each tree must then be one row.
    """

    def __init__(self, forest: Forest, *, dtype: torch.dtype, capture: bool = False, both_ways: bool = False) -> None:
        assert not both_ways or len(forest.trees) == len(forest.rows), "rows that are read both ways share nothing"
        self.both_ways = both_ways
        self.forest = forest
        self.dtype = dtype
        self.captured: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = {} if capture else None
        self.depth_span = int(forest.depth.max()) + 1 if forest.num_tokens else 0
        self._blocks: dict[tuple[int, bool], list[Block]] = {}

    def blocks(self, window: int | None, *, masked: bool = False) -> list[Block]:
        """The blocks for a sliding window of this many tokens (None, or wider than any row: no window).

        masked: every block gets an explicit mask, for attention that is written out.
        """
        span = 0 if window is None or window >= self.depth_span else window
        key = (span, masked or span > 0)
        if key not in self._blocks:
            self._blocks[key] = self._all_masked(span) if key[1] else self._plan()
        return self._blocks[key]

    def _plan(self) -> list[Block]:
        blocks: list[Block] = []
        short: list[tuple[int, int]] = []
        bushy: list[tuple[int, int]] = []
        for tree in self.forest.trees:
            size = tree[1] - tree[0]
            nodes = self.forest.nodes(tree)
            padded = len(nodes) == 1 and size < LONG_CHAIN
            loop = sum(
                (n.stop - n.start) * (n.stop - n.start + sum(nodes[a].stop - nodes[a].start for a in n.above))
                + NODE_COST
                for n in nodes
            )
            masked = len(nodes) > 1 and size * size <= min(loop, MASK_BUDGET)
            if short and not (padded and _fits(short, size)):
                blocks.append(self._padded(short))
                short = []
            if bushy and not (masked and _fits(bushy, size)):
                blocks.append(self._masked(bushy, 0))
                bushy = []
            if padded:
                short.append(tree)
            elif masked:
                bushy.append(tree)
            elif len(nodes) == 1:
                blocks.append(Block(*tree, "chain"))
            else:
                blocks.append(Block(*tree, "nodes", nodes=nodes))
        if short:
            blocks.append(self._padded(short))
        if bushy:
            blocks.append(self._masked(bushy, 0))
        return blocks

    def _all_masked(self, window: int) -> list[Block]:
        return [self._masked([tree], window) for tree in self.forest.trees]

    def _layout(self, trees: list[tuple[int, int]]) -> Block:
        start, stop = trees[0][0], trees[-1][1]
        lengths = [b - a for a, b in trees]
        longest = max(lengths)
        index = torch.zeros(len(trees), longest, dtype=torch.long)
        for number, (a, b) in enumerate(trees):
            index[number, : b - a] = torch.arange(a - start, b - start)
        valid = torch.cat([torch.arange(n) + i * longest for i, n in enumerate(lengths)])
        device = self.forest.device
        return Block(start, stop, "padded", lengths, index.to(device), valid.to(device))

    def _padded(self, trees: list[tuple[int, int]]) -> Block:
        block = self._layout(trees)
        if self.both_ways:  # looking back alone, no token would meet the padding behind its row
            lengths = torch.tensor(block.lengths)
            filled = torch.arange(int(lengths.max()))[None] < lengths[:, None]
            mask = torch.zeros(filled.shape, dtype=self.dtype).masked_fill_(~filled, float("-inf"))
            block.mask = mask[:, None, None].to(self.forest.device)
        return block

    def _masked(self, trees: list[tuple[int, int]], window: int) -> Block:
        block = self._layout(trees)
        block.kind = "masked"
        longest = max(block.lengths)
        see = torch.zeros(len(trees), longest, longest, dtype=torch.bool)
        see[:, :, 0] = True  # padded queries need something to look at; their results are dropped
        for number, (a, b) in enumerate(trees):
            q = torch.arange(a, b)[:, None]
            k = torch.arange(a, b)[None, :]
            end = torch.from_numpy(self.forest.subtree_end[a:b])[None, :]
            sees = torch.ones_like(k <= q) if self.both_ways else (k <= q) & (q < end)
            if window:
                depth = torch.from_numpy(self.forest.depth[a:b])
                apart = depth[:, None] - depth[None, :]
                sees &= (apart.abs() if self.both_ways else apart) < window
            see[number, : b - a, : b - a] = sees
        mask = torch.zeros(see.shape, dtype=self.dtype).masked_fill_(~see, float("-inf"))
        block.mask = mask[:, None].to(self.forest.device)
        return block


def _fits(group: list[tuple[int, int]], size: int) -> bool:
    """Whether a tree may be padded to the others' length; trees come in order of length."""
    smallest = group[0][1] - group[0][0]
    return size <= max(8, smallest * 1.25) and (len(group) + 1) * size * size <= MASK_BUDGET


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
    if cache_step is not None:
        out = cache_step.attend(
            _layer(module),
            query,
            key,
            value,
            scaling=scaling,
            window=sliding_window,
            softcap=softcap,
            sinks=s_aux,
        )
        return out, None
    if forest_plan is not None:
        if forest_plan.captured is not None:
            forest_plan.captured[_layer(module)] = (key.detach(), value.detach())
        out = forest_attention(
            query,
            key,
            value,
            forest_plan,
            scaling=scaling,
            dropout=dropout,
            window=sliding_window,
            softcap=softcap,
            sinks=s_aux,
        )
        return out, None
    if softcap is not None or s_aux is not None or (sliding_window is not None and sliding_window < query.shape[2]):
        raise NotImplementedError("Plain calls of a model with windowed, soft-capped or sink attention need a forest.")
    causal = attention_mask is None and bool(getattr(module, "is_causal", True))
    out = sdpa(query, key, value, attn_mask=attention_mask, is_causal=causal, scale=scaling,
               dropout_p=dropout, enable_gqa=query.shape[1] != key.shape[1])  # fmt: skip
    return out.transpose(1, 2), None


def _layer(module: torch.nn.Module) -> int:
    return int(module.layer_idx)  # type: ignore[arg-type]


AttentionInterface.register(NAME, attend)
