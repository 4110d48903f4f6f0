"""Tuning of the top layers: the rest of the base stays frozen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.methods._own_weights import OwnWeights

if TYPE_CHECKING:
    from torch import nn


class LastLayers(OwnWeights):
    """Learns the last k layers and the final norm (or what a pattern names); lower layers keep what they know. Of an
    encoder-decoder, the decoder's.

    Cheaper than full tuning, since nothing below the first trained layer needs a gradient. Features become more
    task-specific towards the top: Yosinski et al. 2014 (arXiv 1411.1792). Neighbours: full (everything), lora.
    """

    fits_encoder_decoders: ClassVar[bool] = True

    layers: int = Field(2, ge=1, description="How many layers from the top train.")
    pattern: str | None = Field(None, description="Train the parameters whose whole name matches this pattern instead.")
    head: bool = Field(
        False, description="Train the vocabulary head too (and the embeddings, where they are tied to it)."
    )

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze everything but the chosen weights."""
        from tunewright.core.errors import RecipeError
        from tunewright.models.own_weights import top_layers

        net.requires_grad_(False)
        if self.pattern is not None:
            chosen = [p for path, p in net.named_parameters() if re.fullmatch(self.pattern, path)]
            if not chosen:
                some = [path for path, _ in net.named_parameters()][-3:]
                raise RecipeError(
                    f"method.pattern '{self.pattern}' matches no parameter. Names look like: {', '.join(some)}."
                )
            for parameter in chosen:
                parameter.requires_grad_(True)
        else:
            tops = top_layers(net, self.layers)
            for path in tops:
                net.get_submodule(path).requires_grad_(True)
            owner = net.get_submodule(tops[0].rpartition(".")[0].rpartition(".")[0])
            for path, module in owner.named_children():  # the final norm stands beside the stack
                if ("norm" in path and "embedding" not in path) or path == "ln_f":
                    module.requires_grad_(True)
        if self.head:
            net.get_output_embeddings().requires_grad_(True)  # type: ignore[operator]
        return net
