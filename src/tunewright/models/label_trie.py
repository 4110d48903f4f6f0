"""Labels as a trie of their tokens: what begins alike is one node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunewright.models.forest import common_length


class Trie:
    """Endings merged at their beginnings, in depth-first order; node 0 is the prompt itself, before any ending."""

    def __init__(self, endings: Sequence[Sequence[int]]) -> None:
        tokens, parents, depths = [0], [-1], [0]
        self.node_of = np.zeros(len(endings), np.int64)  # where each ending ends
        path: list[int] = [0]
        before: Sequence[int] = ()
        for number in sorted(range(len(endings)), key=lambda i: list(endings[i])):
            ending = list(endings[number])
            shared = common_length(before, ending)
            path = path[: shared + 1]
            for token in ending[shared:]:
                path.append(len(tokens))
                tokens.append(token)
                parents.append(path[-2])
                depths.append(len(path) - 1)
            self.node_of[number] = path[-1]
            before = ending
        self.token, self.parent, self.depth = np.array(tokens), np.array(parents), np.array(depths)
        self.size = len(tokens)
        self.num_children = np.bincount(self.parent[1:], minlength=self.size)
        self.children = np.argsort(self.parent[1:], kind="stable") + 1  # of node 0, of node 1, ...
        self.first_child = np.cumsum(self.num_children) - self.num_children
        self.inner = self.num_children > 0
        self.inner[0] = False  # the prompt is read already
        self.levels = [np.flatnonzero(self.depth == depth) for depth in range(1, int(self.depth.max()) + 1)]
        self.line = np.zeros((self.size, len(self.levels)), np.int64)  # the nodes from the first to each node itself
        for at, level in enumerate(self.levels):
            self.line[level] = self.line[self.parent[level]]
            self.line[level, at:] = level[:, None]
        below = np.bincount(self.node_of, minlength=self.size).astype(float)
        apart = below.max() <= 1 and not self.num_children[self.node_of].any()
        for level in reversed(self.levels):
            np.add.at(below, self.parent[level], below[level])
        # endings that begin no others exclude each other: all together they are no likelier than what they share
        self.log_most = np.zeros(self.size) if apart else np.log(below)

    def below(self, node: int) -> list[int]:
        """The node and the nodes under it that something follows."""
        stop = node + 1
        while stop < self.size and self.depth[stop] > self.depth[node]:
            stop += 1
        return (node + np.flatnonzero(self.inner[node:stop])).tolist()
