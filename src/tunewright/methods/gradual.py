"""Gradual unfreezing: the top layer learns first, then one more at a time, lower ones at lower rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tunewright.methods._own_weights import OwnWeights

if TYPE_CHECKING:
    from torch import nn


class Gradual(OwnWeights):
    """Learns all weights in the end, from the top down: one more layer an epoch, each at 1/2.6 of the rate above it.

    Howard & Ruder 2018 (ULMFiT, arXiv 1801.06146, sections 3.2 and 3.3); `train.schedule: slanted_triangular` goes with
    it. What is frozen computes no gradient and has no optimizer state. The first group is the top layer with what
    stands above it (final norm, an untied head), the last the embeddings. Neighbours: full (all at once), last_layers.
    """

    thaws: ClassVar[bool] = True

    every: float | None = Field(
        None, gt=0, le=1, description="One more layer after this share of the steps; after each epoch when left out."
    )
    factor: float = Field(2.6, ge=1, description="Each layer's rate is that of the one above it, divided by this.")

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Let every weight train: `at` freezes what has not come yet."""
        return net.requires_grad_(True)

    def groups(self, net: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Rates lr / factor^depth, depth 0 at the top."""
        from tunewright.models.own_weights import depths

        found: dict[tuple[int, bool], list[Any]] = {}
        for depth, parameter in depths(net):
            if parameter.requires_grad:
                found.setdefault((depth, parameter.dim() >= 2), []).append(parameter)
        return [
            {"params": params, "lr": lr / self.factor**depth, "decay": decay}
            for (depth, decay), params in sorted(found.items(), key=lambda group: group[0])
        ]

    def at(self, net: nn.Module, *, step: int, total: int, per_epoch: int) -> None:
        """Open one more group at each turn."""
        from tunewright.models.own_weights import depths

        turn = per_epoch if self.every is None else max(1, math.ceil(self.every * total))
        num_open = 1 + (step - 1) // turn
        for depth, parameter in depths(net):
            parameter.requires_grad_(depth < num_open)

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write all weights: also those whose turn has not come."""
        from tunewright.models.own_weights import save_trained

        save_trained(net, folder, everything=True)
