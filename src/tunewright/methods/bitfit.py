"""BitFit: the base's biases and nothing else, or its norms too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tunewright.methods._own_weights import OwnWeights

if TYPE_CHECKING:
    from torch import nn


class Bitfit(OwnWeights):
    """Learns the biases of the base, which are a thousandth of its weights; every matrix stays frozen.

    Zaken et al. 2021 (arXiv 2106.10199). Wants a higher rate than full tuning. Many newer bases (Llama, Mistral) have
    no biases: `norms` is what is left there. Neighbours: ia3 (vectors beside the base), full.
    """

    norms: bool = Field(False, description="Learn the weights of the norms too: needed where a base has no biases.")

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze everything but the vectors."""
        from tunewright.core.errors import RecipeError

        net.requires_grad_(False)
        biases = [p for path, p in net.named_parameters() if path.endswith("bias")]
        norms = [p for path, p in net.named_parameters() if path.endswith("weight") and p.dim() == 1]
        if not biases and not self.norms:
            raise RecipeError(
                "method: bitfit learns biases, and this model has none. Say norms: true to learn the weights of its "
                "norms, or take the method ia3."
            )
        for parameter in biases + (norms if self.norms else []):
            parameter.requires_grad_(True)
        return net
