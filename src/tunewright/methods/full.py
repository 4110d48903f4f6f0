"""Full tuning: every weight of the base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Method

if TYPE_CHECKING:
    from torch import nn


class Full(Method):
    """Learns all of the base's weights: the most capacity, the most memory, and the most to forget.

    Needs four times the weights' memory with AdamW. Neighbours: last_layers (only the top), lora (a small file beside).
    """

    has_adapter: ClassVar[bool] = False

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Let every weight train."""
        return net.requires_grad_(True)

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """The weights are plain already."""
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the weights by name."""
        from tunewright.models.own_weights import save_trained

        save_trained(net, folder)

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Put saved weights back."""
        from tunewright.models.own_weights import load_trained

        load_trained(net, folder)
