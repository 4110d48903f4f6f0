"""Full tuning: every weight of the base."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tunewright.methods._own_weights import OwnWeights

if TYPE_CHECKING:
    from torch import nn


class Full(OwnWeights):
    """Learns all of the base's weights: the most capacity, the most memory, and the most to forget.

    Needs four times the weights' memory with AdamW. Neighbours: last_layers (only the top), lora (a small file beside).
    """

    fits_encoder_decoders: ClassVar[bool] = True

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Let every weight train."""
        return net.requires_grad_(True)
