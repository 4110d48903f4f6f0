"""What the methods share that train some of the base's own weights: the result is plain weights already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunewright.core.parts import Method

if TYPE_CHECKING:
    from torch import nn


class OwnWeights(Method):
    """Saves the parameters that train, by name; nothing to merge and no adapter to export."""

    has_adapter: ClassVar[bool] = False

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """The weights are plain already."""
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the trained weights by name."""
        from tunewright.models.own_weights import save_trained

        save_trained(net, folder)

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Put saved weights back."""
        from tunewright.models.own_weights import load_trained

        load_trained(net, folder)
