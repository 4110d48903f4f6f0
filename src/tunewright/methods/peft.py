"""Any tuner of the PEFT library, by its name there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from tunewright.methods._beside import BesideBase

if TYPE_CHECKING:
    from torch import nn


class Peft(BesideBase):
    """Learns what a tuner of the PEFT library learns: VERA, LOHA, LOKR, OFT, LN_TUNING and so on.

    Its layers are PEFT's own, so they run at PEFT's speed. Saved and loaded by PEFT. What would change the base itself
    is refused. Mangrulkar et al. 2022 (github.com/huggingface/peft). Neighbours: lora and ia3, which are faster here.
    """

    tuner: str = Field(description="The tuner's name in PEFT (its peft_type).")
    options: dict[str, Any] = Field({}, description="The options of the tuner's config in PEFT, by their names there.")

    @model_validator(mode="after")
    def _known(self) -> Peft:
        from tunewright.models import peft_layers

        if wrong := peft_layers.problem(self.tuner, self.options):
            raise ValueError(wrong)
        return self

    @property
    def draws(self) -> bool:
        """Dropout draws."""
        return any("dropout" in name and bool(value) for name, value in self.options.items())

    @property
    def mergeable(self) -> bool:
        """As the tuner has it."""
        from tunewright.models import peft_layers

        return peft_layers.mergeable(self.tuner)

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and let PEFT put its layers in."""
        from tunewright.models import beside, peft_layers

        net.requires_grad_(False)
        peft_layers.add_adapter(net, name, peft_layers.make_config(self.tuner, self.options), seed=seed)
        beside.route_of(net).active = name
        return net

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Let PEFT fold it into the base, where the tuner can."""
        from tunewright.models import peft_layers

        peft_layers.merge_adapter(net, name)
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write it as PEFT does."""
        from tunewright.models import peft_layers

        peft_layers.save_adapter(net, name, folder)

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached tuner from a folder."""
        from tunewright.models import peft_layers

        peft_layers.fill_adapter(net, name, folder)
