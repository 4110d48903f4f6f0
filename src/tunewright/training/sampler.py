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
            self._order = self._ordered(epoch)
            self._epoch = epoch
        return Step(number, epoch, self._order[index * self.batch : (index + 1) * self.batch].tolist())

    def _ordered(self, epoch: int) -> np.ndarray:
        """The examples of an epoch, in their order."""
        return np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(self.num_examples)


class MixedEpochs(ShuffledEpochs):
    """Several tasks with shares of their own: an epoch has as many examples as there are, each task its share of them.

    Examples-proportional mixing with a limit, and with a temperature (Raffel et al. 2020, arXiv 1910.10683, section
    3.5.2). Each task goes through its own examples in fresh orders, so that all of them come before any comes again.
    tasks: of each example, a number from 0.
    """

    def __init__(
        self,
        tasks: np.ndarray,
        *,
        temperature: float,
        cap: int | None,
        batch: int,
        seed: int,
        epochs: float | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__(len(tasks), batch=batch, seed=seed, epochs=epochs, steps=steps)
        self.members = [np.flatnonzero(tasks == task) for task in range(int(tasks.max()) + 1)]
        counted = np.array([min(len(own), cap or len(own)) for own in self.members], np.float64)
        shares = counted ** (1 / temperature)
        exact = shares / shares.sum() * len(tasks)
        self.quotas = np.floor(exact).astype(int)
        largest = np.argsort(self.quotas - exact, kind="stable")  # largest remainders: quotas add up to an epoch
        self.quotas[largest[: len(tasks) - int(self.quotas.sum())]] += 1

    def _ordered(self, epoch: int) -> np.ndarray:
        drawn = [self._drawn(task, epoch) for task in range(len(self.members))]
        return np.concatenate(drawn)[self._draw(0, epoch).permutation(self.num_examples)]

    def _drawn(self, task: int, epoch: int) -> np.ndarray:
        """What a task adds to an epoch: it goes on where it stopped in its own passes."""
        own, quota = self.members[task], int(self.quotas[task])
        first, stop = epoch * quota, (epoch + 1) * quota
        passes = range(first // len(own), -(-stop // len(own)))
        line = np.concatenate([self._draw(task + 1, number).permutation(own) for number in passes] or [own[:0]])
        at = first - first // len(own) * len(own)
        return line[at : at + quota]

    def _draw(self, what: int, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.seed, (what << 40) + number]))


def draw_seed(seed: int, step: int) -> int:
    """The seed of all draws inside one step (dropout, noise), so that a resumed run draws the same."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
