"""IA3: vectors that scale keys, values and the feed-forward part's inner activations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from tunewright.methods._beside import BesideBase, base_name

if TYPE_CHECKING:
    from torch import nn


class Ia3(BesideBase):
    """Learns one factor for each key, value and inner feed-forward feature: the fewest weights of all adapters.

    Liu et al. 2022 (arXiv 2205.05638, section 3.3). Wants a higher rate than LoRA. Saved in PEFT's layout. Neighbours:
    lora (learns more), bitfit (the base's own vectors).
    """

    outputs: list[str] | None = Field(
        None, description="Endings of layers whose outputs are scaled; what makes keys and values when left out."
    )
    inputs: list[str] | None = Field(
        None, description="Endings of layers whose inputs are scaled; the end of the feed-forward part when left out."
    )

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and put the vectors beside the chosen layers."""
        from tunewright.core.errors import RecipeError
        from tunewright.models import beside, lora_layers, scaled_layers
        from tunewright.models.layer_parts import layer_parts

        parts = layer_parts(net) if self.outputs is None or self.inputs is None else []
        outputs = [path for part in parts for path in part.keys_values]
        inputs = [part.feed_forward_out for part in parts]
        if self.outputs is not None:
            outputs = lora_layers.matching(net, self.outputs) if self.outputs else []
        if self.inputs is not None:
            inputs = lora_layers.matching(net, self.inputs) if self.inputs else []
        if both := sorted(set(outputs) & set(inputs)):
            raise RecipeError(f"method: {both[0]} is among outputs and among inputs. Leave it in one of them.")
        if not outputs and not inputs:
            raise RecipeError("method: outputs and inputs are both empty, so nothing would train. Name some layers.")
        net.requires_grad_(False)
        scaled_layers.add_adapter(net, name, outputs=outputs, inputs=inputs)
        beside.route_of(net).active = name
        return net

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Fold the vectors into weights and biases."""
        from tunewright.models import scaled_layers

        scaled_layers.merge_adapter(net, name)
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the vectors in PEFT's layout."""
        from tunewright.models import scaled_layers

        scaled_layers.save_adapter(net, name, folder, base=base_name(net))

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached vectors from a folder."""
        from tunewright.models import scaled_layers

        scaled_layers.fill_adapter(net, name, folder)
