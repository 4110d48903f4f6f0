"""How the attention of a forest is computed: which trees go through one kernel call, and how. Made once a forest.

Shape letters: B trees, L tokens of the longest, N tokens, G key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tunewright.models.forest import Forest, Node

if TYPE_CHECKING:
    from tunewright.models.roots import Prefixes

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


KeysValues = dict[int, tuple[torch.Tensor, torch.Tensor]]  # layer -> keys and values, 1GND


@dataclass(frozen=True, eq=False)
class Past:
    """What was made of tokens that stand before a row and were read earlier: `size` of them, behind `root` learned
    ones.
    """

    made: KeysValues
    size: int
    root: int = 0

    @property
    def length(self) -> int:
        """How many tokens stand before the row."""
        return self.root + self.size


class ForestPlan:
    """How the attention of one forest is computed; made once and used by every layer.

    before: for each row what stands before it and was computed earlier, if anything (for answering only); all rows of a
    tree have the same.
    measured: other kernels may take over where they are measured to be faster (models/cuda_attention.py).
    prefixes: trained keys and values of the forest's roots. both_ways: every token of a row sees every other one, as in
    encoders; each tree must then be one row.
    """

    def __init__(
        self,
        forest: Forest,
        *,
        dtype: torch.dtype,
        capture: bool = False,
        before: Sequence[Past | None] = (),
        measured: bool = False,
        prefixes: Prefixes | None = None,
        both_ways: bool = False,
    ) -> None:
        assert not both_ways or len(forest.trees) == len(forest.rows), "rows that are read both ways share nothing"
        self.both_ways = both_ways
        self.forest = forest
        self.dtype = dtype
        self.before = before if any(before) else ()
        self.measured = measured
        self.made: dict[str, Any] = {}  # what those kernels make once a forest
        self.prefixes = prefixes
        self.captured: KeysValues | None = {} if capture else None
        self.depth_span = int(forest.depth.max()) + 1 if forest.num_tokens else 0
        self._blocks: dict[tuple[int, bool], list[Block]] = {}

    @cached_property
    def behind(self) -> list[tuple[Node, Past | None]]:
        """Every node of the forest, in order, with what stands before its tree. `above` counts through all of them."""
        past_of = {tokens[0]: past for tokens, past in zip(self.forest.lines, self.before, strict=True)}
        found: list[tuple[Node, Past | None]] = []
        for node in self.forest.all_nodes():
            found.append((node, found[node.above[0]][1] if node.above else past_of[node.start]))
        return found

    @cached_property
    def past_N(self) -> torch.Tensor:
        """How many tokens stand before each token's tree."""
        sizes = [node.stop - node.start for node, _ in self.behind]
        lengths = [past.length if past else 0 for _, past in self.behind]
        return torch.tensor(lengths).repeat_interleave(torch.tensor(sizes)).to(self.forest.device)

    @cached_property
    def only_chains(self) -> bool:
        """Whether no tree of the forest branches."""
        parent = self.forest.parent
        return bool(((parent < 0) | (parent == np.arange(len(parent)) - 1)).all())

    def span(self, window: int | None) -> int | None:
        """The window where it cuts anything off."""
        return None if window is None or window >= self.depth_span else window

    def blocks(self, window: int | None, *, masked: bool = False) -> list[Block]:
        """The blocks for a sliding window of this many tokens (None, or wider than any row: no window).

        masked: every block gets an explicit mask, for attention that is written out.
        """
        span = self.span(window) or 0
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
