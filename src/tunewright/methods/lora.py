"""LoRA: small low-rank matrices beside frozen linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.parts import Method

if TYPE_CHECKING:
    from torch import nn

    from tunewright.models.lora_layers import LoraShape


class Lora(Method):
    """Learns B and A in W + (alpha / rank) B A; the base stays untouched, the result is a small file beside it.

    Hu et al. 2021 (arXiv 2106.09685, eq. 3); rsLoRA scaling alpha / sqrt(rank): Kalajdzievski 2023 (arXiv 2312.03732).
    Saved in PEFT's layout. Neighbours: full (every weight, more memory), last_layers (some of the base's own weights).
    """

    has_adapter: ClassVar[bool] = True

    rank: int = Field(16, ge=1, description="Size of the adapter: higher learns more, costs memory.")
    alpha: float | None = Field(None, gt=0, description="Strength of the adapter; twice the rank when left out.")
    targets: str | list[str] = Field(
        "all", description="'all' linear layers, name endings, or a pattern over the whole name."
    )
    layers: int | None = Field(
        None, ge=1, description="Only this many layers from the top: faster, and learns less; all when left out."
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Drops inputs of the adapter while training; fights overfitting, slows learning."
    )
    rslora: bool = Field(False, description="Scale by 1/sqrt(rank): keeps high ranks learning.")

    @property
    def draws(self) -> bool:
        """Dropout draws."""
        return self.dropout > 0

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and put the adapter beside the chosen layers."""
        from tunewright.models import lora_layers

        net.requires_grad_(False)
        lora_layers.add_adapter(net, name, self._shape(self._chosen(net)), seed=seed)
        lora_layers.route_of(net).active = name
        return net

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Fold B A into the base's weights."""
        from tunewright.models import lora_layers

        lora_layers.merge_adapter(net, name)
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the adapter in PEFT's layout."""
        from tunewright.models import lora_layers

        base = str(getattr(net.config, "_name_or_path", ""))
        lora_layers.save_adapter(net, name, folder, self._shape([]), base=base)

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached adapter from a folder."""
        from tunewright.models import lora_layers

        lora_layers.fill_adapter(net, name, folder)

    @contextmanager
    def off(self, net: nn.Module) -> Iterator[None]:
        """The base alone."""
        from tunewright.models import lora_layers

        route = lora_layers.route_of(net)
        before, route.active = route.active, ""
        try:
            yield
        finally:
            route.active = before

    def _chosen(self, net: nn.Module) -> list[str]:
        from tunewright.core.errors import RecipeError
        from tunewright.models import lora_layers
        from tunewright.models.own_weights import top_layers

        chosen = lora_layers.matching(net, self.targets)
        if self.layers is None:
            return chosen
        tops = tuple(f"{path}." for path in top_layers(net, self.layers))
        if kept := [path for path in chosen if path.startswith(tops)]:
            return kept
        raise RecipeError(
            f"method.layers: nothing that method.targets names lies in the top {self.layers} layers; the nearest is "
            f"{chosen[-1]}. Raise layers, or change targets."
        )

    def _shape(self, targets: list[str]) -> LoraShape:
        from tunewright.models.lora_layers import LoraShape

        alpha = 2.0 * self.rank if self.alpha is None else self.alpha
        return LoraShape(self.rank, alpha, self.rslora, self.dropout, targets)
