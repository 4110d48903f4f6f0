"""QLoRA: a LoRA adapter beside a base that is kept in 4 bits while training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn


class Qlora(Lora):
    """Learns B and A of `lora` while the frozen linear layers are kept in 4-bit NormalFloat: a quarter of bfloat16.

    Dettmers et al. 2023 (arXiv 2305.14314, eq. 5 and 6). What is evaluated, merged and released is the adapter on the
    base as it was before: the proof `merge` tells how far that is from what was trained. Needs bitsandbytes.
    Neighbours: lora (exact and faster, where the base fits into memory).
    """

    fits_encoder_decoders: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("bitsandbytes",)

    double: bool = Field(True, description="Keep the scales in 8 bits too: 4.127 bits a weight rather than 4.5.")

    @property
    def quantised(self) -> bool:
        """The base is opened in 4 bits for training."""
        return True

    def quantise(self, net: nn.Module) -> None:
        """Keep the base's linear layers in NF4."""
        from tunewright.models.quantised import quantise

        quantise(net, double=self.double)
