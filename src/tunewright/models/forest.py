"""A batch as a forest: rows of tokens merged at their shared beginnings, each shared token computed once.

A token sees its ancestors and itself; its position is its depth. In depth-first order token q sees token k exactly
when k <= q < subtree_end[k]. An adapter may have a trainable root (models/roots.py): so many tokens before all of its
rows, which are no row's own. Shape letters: N forest tokens, K learned tokens, R rows, E (row, learned token) entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

MIN_SHARE = 16  # merging fewer tokens than this costs more in bookkeeping than it saves


@dataclass(frozen=True)
class Row:
    """A sequence of token ids. `weights[i]` says how much predicting item i is learned; 0 is context.

    example: id of the example (or of the piece of a document) it belongs to. adapter: which adapter answers ("": the
    active one). slot: which of its example's rows it is, e.g. 0 the chosen and 1 the rejected answer of a pair. cut:
    whether it lost its end to `max_tokens`. target: what a head should make of it: the numbers of classes, a number, or
    a class for each token with a weight. extra: what a loss needs to know of it beyond its tokens, by name: one number
    for the row, or one for each learned token (advantages, log-probs when it was sampled ...).
    """

    items: list[int]
    weights: list[float]
    example: str
    adapter: str = ""
    slot: int = 0
    cut: bool = False
    target: tuple[float, ...] = ()
    extra: dict[str, tuple[float, ...] | float] | None = None

    @cached_property
    def num_learned(self) -> float:
        """Sum of the weights."""
        return float(sum(self.weights))


@dataclass
class Tree:
    """A maximal set of rows that share a beginning, in its own depth-first numbering."""

    items: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    rows: list[tuple[int, list[int]]] = field(default_factory=list)  # (row number, its tokens in order)
    adapter: str = ""
    root: int = 0  # tokens before its rows


@dataclass(frozen=True)
class Node:
    """A run of tokens without branching: forest positions start..stop-1; `above` are the nodes on the way to the
    root.
    """

    start: int
    stop: int
    above: tuple[int, ...]


class Forest:
    """Rows merged into trees and laid out in one line, with all that a forward pass and a loss need.

    row_tokens: for each row the forest positions of its items; lines: the same with the root before them. roots: the
    adapter, start and length of each root that was laid out.
    """

    def __init__(self, rows: Sequence[Row], trees: list[Tree], device: torch.device | str, *, share: bool) -> None:
        self.rows, self.share = list(rows), share
        trees.sort(key=lambda tree: (tree.adapter, len(tree.items)))
        starts = np.cumsum([0] + [len(tree.items) for tree in trees])
        self.num_tokens = int(starts[-1])
        self.num_row_tokens = sum(len(row.items) for row in rows)
        self.trees = [(int(a), int(b)) for a, b in pairwise(starts)]
        self.items = _joined(tree.items for tree in trees)
        self.depth = _joined(tree.depth for tree in trees)
        self.subtree_end = _joined((np.asarray(tree.end) + at for tree, at in zip(trees, starts[:-1], strict=True)))
        self.parent = _joined(
            np.where(np.asarray(tree.parent) < 0, -1, np.asarray(tree.parent) + at)
            for tree, at in zip(trees, starts[:-1], strict=True)
        )
        self.roots = [
            (tree.adapter, int(at), tree.root) for tree, at in zip(trees, starts[:-1], strict=True) if tree.root
        ]
        self.lines: list[np.ndarray] = [np.empty(0, np.int64)] * len(self.rows)
        self.row_tokens = list(self.lines)
        for tree, at in zip(trees, starts[:-1], strict=True):
            for number, tokens in tree.rows:
                self.lines[number] = np.asarray(tokens, np.int64) + at
                self.row_tokens[number] = self.lines[number][tree.root :]
        self.adapters = segments([(tree.adapter, len(tree.items)) for tree in trees])
        self.device = torch.device(device)
        self.ids_N = torch.from_numpy(self.items).to(device)
        self.positions_N = torch.from_numpy(self.depth).to(device)
        self.longest_N = torch.from_numpy(_joined(_longest(tree) for tree in trees)).to(device)
        self._learned()

    @classmethod
    def build(
        cls,
        rows: Sequence[Row],
        *,
        device: torch.device | str = "cpu",
        share: bool = True,
        min_share: int = MIN_SHARE,
        roots: Mapping[str, int] | None = None,
    ) -> Forest:
        """Merge rows. share False keeps every row a chain of its own; min_share is the shortest beginning worth
        merging. roots: how many tokens stand before the rows of an adapter.
        """
        return cls(rows, _grow(rows, share, min_share, roots or {}), device, share=share)

    @classmethod
    def of_groups(
        cls,
        groups: Sequence[Sequence[Row]],
        *,
        device: torch.device | str = "cpu",
        min_share: int = 1,
        roots: Sequence[Mapping[str, int]] | None = None,
    ) -> Forest:
        """Merge rows inside each group only: a tree or more for each group. roots: as for `build`, of each group."""
        rows = [row for group in groups for row in group]
        trees: list[Tree] = []
        at = 0
        for group, sizes in zip(groups, roots or [{}] * len(groups), strict=True):
            for tree in _grow(group, True, min_share, sizes):
                tree.rows = [(number + at, tokens) for number, tokens in tree.rows]
                trees.append(tree)
            at += len(group)
        return cls(rows, trees, device, share=True)

    def _learned(self) -> None:
        entry_row, entry_token, entry_weight = [], [], []
        for number, row in enumerate(self.rows):
            weights = np.asarray(row.weights, np.float64)
            learned = np.flatnonzero(weights)
            learned = learned[learned > 0]  # nothing comes before the first token, so it cannot be predicted
            entry_row.append(np.full(len(learned), number))
            entry_token.append(self.row_tokens[number][learned])
            entry_weight.append(weights[learned])
        tokens = np.concatenate(entry_token) if entry_token else np.empty(0, np.int64)
        weights = np.concatenate(entry_weight) if entry_weight else np.empty(0)
        self.learned, inverse = np.unique(tokens, return_inverse=True)
        total = np.bincount(inverse, weights=weights, minlength=len(self.learned))
        device = self.device
        self.from_K = torch.from_numpy(self.parent[self.learned]).to(device)
        self.target_K = torch.from_numpy(self.items[self.learned]).to(device)
        self.weight_K = torch.from_numpy(total.astype(np.float32)).to(device)
        self.entry_K = torch.from_numpy(inverse.astype(np.int64)).to(device)
        self.entry_row_E = torch.from_numpy(np.concatenate(entry_row).astype(np.int64) if entry_row else tokens).to(
            device
        )
        self.entry_weight_E = torch.from_numpy(weights.astype(np.float32)).to(device)

    @property
    def num_learned(self) -> float:
        """Sum of the learned weights over all rows."""
        return float(self.weight_K.sum())

    def last_tokens(self) -> torch.Tensor:
        """For each row, the forest position of its last token. Shape R."""
        return torch.tensor([int(tokens[-1]) for tokens in self.row_tokens], device=self.device)

    def nodes(self, tree: tuple[int, int]) -> list[Node]:
        """The nodes of one tree, in depth-first order."""
        start, stop = tree
        parent = self.parent[start:stop]
        children = np.bincount(parent[parent >= 0] - start, minlength=stop - start)
        index = np.arange(start, stop)
        begins = (parent != index - 1) | (children[np.maximum(parent - start, 0)] > 1)
        begins[0] = True
        edges = [*np.flatnonzero(begins).tolist(), stop - start]
        node_of = np.cumsum(begins) - 1
        nodes: list[Node] = []
        for a, b in pairwise(edges):
            above: tuple[int, ...] = ()
            if parent[a] >= 0:
                holder = int(node_of[parent[a] - start])
                above = (*nodes[holder].above, holder)
            nodes.append(Node(start + a, start + b, above))
        return nodes

    def all_nodes(self) -> list[Node]:
        """The nodes of all trees, in order; `above` counts through all of them."""
        found: list[Node] = []
        for tree in self.trees:
            first = len(found)
            found += [
                Node(node.start, node.stop, tuple(first + place for place in node.above)) for node in self.nodes(tree)
            ]
        return found


def prompt_length(row: Row) -> int:
    """How many tokens of a row come before the first that is learned."""
    return next((place for place, weight in enumerate(row.weights) if weight > 0), len(row.items))


def micro_batches(
    units: Sequence[Sequence[Row]], micro_tokens: int, *, share: bool = True, root: int = 0
) -> list[list[Row]]:
    """Part an optimizer step into forests of at most about `micro_tokens` tokens; the rows of a unit stay together.

    Units with the same beginning meet. Changes memory only, never the gradient. root: tokens before the rows, once a
    forest, or before each row where nothing is shared.
    """
    once, each = (root, 0) if share else (0, root)
    ordered = sorted((unit for unit in units if unit), key=lambda unit: (unit[0].adapter, unit[0].items))
    batches: list[list[Row]] = []
    room = 0
    before: list[int] = []
    for unit in ordered:
        need = 0
        for row in unit:
            shared = common_length(before, row.items) if share else 0
            need += each + len(row.items) - (shared if shared >= MIN_SHARE else 0)
            before = row.items
        if not batches or need > room:
            batches.append([])
            room = micro_tokens - once
            need = sum(each + len(row.items) for row in unit)
        batches[-1] += unit
        room -= need
    return batches


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many items two sequences share at their beginning."""
    shortest = min(len(a), len(b))
    if a[:shortest] == b[:shortest]:
        return shortest
    low, high = 0, shortest  # the first difference lies in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _grow(rows: Sequence[Row], share: bool, min_share: int, roots: Mapping[str, int]) -> list[Tree]:
    order = sorted(range(len(rows)), key=lambda i: (rows[i].adapter, rows[i].items)) if share else range(len(rows))
    trees: list[Tree] = []
    tree = Tree()
    path: list[int] = []  # tokens of the previous row in its tree
    edges: list[int] = []  # depths at which the previous row may be left without making a short node
    before: Row | None = None
    for number in order:
        row = rows[number]
        root = roots.get(row.adapter, 0)
        items = [0] * root + row.items if root else row.items  # any id will do in the root's place
        shared = 0
        if share and before is not None and before.adapter == row.adapter:
            shared = root + common_length(before.items, row.items)
            base = max((edge for edge in edges if edge <= shared), default=root)
            shared = shared if shared - base >= min_share else base
        if shared == 0:
            tree = Tree(adapter=row.adapter, root=root)
            trees.append(tree)
            path = []
        for token in path[shared:]:
            tree.end[token] = len(tree.items)
        first = len(tree.items)
        fresh = len(items) - shared
        tree.items += items[shared:]
        tree.depth += range(shared, len(items))
        tree.parent += [path[shared - 1] if shared else -1, *range(first, first + fresh - 1)][:fresh]
        tree.end += [0] * fresh
        path = path[:shared] + list(range(first, first + fresh))
        edges = [edge for edge in edges if edge <= shared] if shared else []
        if shared and shared not in edges:
            edges.append(shared)
        tree.rows.append((number, path))
        before = row
    for tree in trees:
        size = len(tree.items)
        tree.end = [end or size for end in tree.end]
    return trees


def _longest(tree: Tree) -> list[int]:
    """For each token, the length of the longest row through it, the root apart."""
    longest = [0] * len(tree.items)
    for _, tokens in tree.rows:
        for token in tokens:
            longest[token] = max(longest[token], len(tokens) - tree.root)
    return longest


def _joined(parts: object) -> np.ndarray:
    arrays = [np.asarray(part, np.int64) for part in parts]  # type: ignore[attr-defined]
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def segments(pieces: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Neighbouring (adapter, tokens) pieces of one adapter joined."""
    merged: list[tuple[str, int]] = []
    for adapter, length in pieces:
        if merged and merged[-1][0] == adapter:
            merged[-1] = (adapter, merged[-1][1] + length)
        else:
            merged.append((adapter, length))
    return merged
