"""Bottlenecks: small modules with a nonlinearity inside every layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from tunewright.methods._beside import BesideBase, base_name

if TYPE_CHECKING:
    from torch import nn

    from tunewright.models.bottlenecks import BottleneckShape

REDUCTION = 16


class Bottleneck(BesideBase):
    """Learns down and up in h + scale * up(f(down(h))) inside every layer; the base stays frozen.

    Behind attention and feed-forward part: Houlsby et al. 2019 (arXiv 1902.00751, section 2.1); behind the latter
    alone: Pfeiffer et al. 2021 (arXiv 2005.00247); beside it: He et al. 2022 (arXiv 2110.04366, table 1). Cannot be
    merged: each answer costs a little more, and the base stays needed. Neighbours: lora (can be merged), ia3.
    """

    place: Literal["houlsby", "pfeiffer", "parallel"] = Field(
        "pfeiffer",
        description="Behind attention and feed-forward part (houlsby: twice the weights), behind the latter (pfeiffer) "
        "or beside it (parallel).",
    )
    size: int | None = Field(None, ge=1, description="Width in the middle: wider learns more, costs memory.")
    reduction: float | None = Field(
        None,
        gt=0,
        description=f"The model's width divided by the middle's, instead of size; {REDUCTION} when left out.",
    )
    activation: Literal["relu", "gelu", "silu", "tanh"] = Field("relu", description="The nonlinearity in the middle.")
    scale: float = Field(1.0, gt=0, description="Strength of what is added (4 for parallel in the paper).")

    @model_validator(mode="after")
    def _one_width(self) -> Bottleneck:
        if self.size is not None and self.reduction is not None:
            raise ValueError("give size or reduction, not both")
        return self

    @property
    def mergeable(self) -> bool:
        """A nonlinearity stands between."""
        return False

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and put the bottlenecks in."""
        from tunewright.core.errors import RecipeError
        from tunewright.models import beside, bottlenecks

        shape, width = self._shape(net), _width(net)
        if not 1 <= shape.size <= width:
            raise RecipeError(
                f"method: the middle of a bottleneck would be {shape.size} wide, and the model is {width} wide. Give a "
                f"size from 1 to {width}."
            )
        net.requires_grad_(False)
        bottlenecks.add_adapter(net, name, shape, seed=seed)
        beside.route_of(net).active = name
        return net

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Raises CannotMerge."""
        from tunewright.models import bottlenecks

        bottlenecks.merge_adapter(net, name)
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the bottlenecks in our own layout: PEFT has none."""
        from tunewright.models import bottlenecks

        bottlenecks.save_adapter(net, name, folder, self._shape(net), base=base_name(net))

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached bottlenecks from a folder."""
        from tunewright.models import bottlenecks

        bottlenecks.fill_adapter(net, name, folder)

    def _shape(self, net: nn.Module) -> BottleneckShape:
        from tunewright.models.bottlenecks import BottleneckShape

        size = self.size if self.size is not None else round(_width(net) / (self.reduction or REDUCTION))
        return BottleneckShape(self.place, size, self.activation, self.scale)


def _width(net: Any) -> int:
    return int(net.config.get_text_config().hidden_size)
