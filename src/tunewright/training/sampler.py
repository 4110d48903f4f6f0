"""Which examples make up each optimizer step: a function of (seed, epoch, index), never of a global generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """One optimizer step: its number from 1, the epoch it begins in, and the positions of its examples."""

    number: int
    epoch: int
    members: list[int]


class ShuffledEpochs:
    """Every example once an epoch, in a fresh order; the last step of an epoch may be short.

    num_examples and batch count examples; `total` is the number of optimizer steps.
    """

    def __init__(
        self, num_examples: int, *, batch: int, seed: int, epochs: float | None = None, steps: int | None = None
    ) -> None:
        assert (epochs is None) != (steps is None)
        self.num_examples = num_examples
        self.batch = batch
        self.seed = seed
        self.per_epoch = math.ceil(num_examples / batch)
        self.total = steps if steps is not None else max(1, math.ceil(round((epochs or 0) * self.per_epoch, 6)))
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def step(self, number: int) -> Step:
        """The step with this number, from 1; the same whenever and wherever it is asked for."""
        epoch, index = divmod(number - 1, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(self.num_examples)
            self._epoch = epoch
        return Step(number, epoch, self._order[index * self.batch : (index + 1) * self.batch].tolist())


def draw_seed(seed: int, step: int) -> int:
    """The seed of all draws inside one step (dropout, noise), so that a resumed run draws the same."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
