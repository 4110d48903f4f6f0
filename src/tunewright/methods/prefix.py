"""Prefix tuning: keys and values before every row, in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from tunewright.methods._roots import Rooted

if TYPE_CHECKING:
    from torch import nn


class Prefix(Rooted):
    """Learns the keys and values of a few tokens in every layer and lets every row see them.

    Li & Liang 2021 (arXiv 2101.00190, eq. 3): tokens x layers x 2 x (key/value heads x head size) numbers. It begins as
    the keys and values of real words (section 7.4). Saved in PEFT's layout (PREFIX_TUNING). Neighbours: prompt (the
    first layer's embeddings alone), lora.
    """

    reparametrise: bool = Field(
        False,
        description="Make them by a small network while they train (section 4.3): steadier, slower, begins at random.",
    )
    hidden: int | None = Field(None, ge=1, description="Size of that network's middle; 512 when left out.")

    @model_validator(mode="after")
    def _options_of_one_way(self) -> Prefix:
        if self.hidden is not None and not self.reparametrise:
            raise ValueError("'hidden' is the size of the network of reparametrise: true. Say so, or leave it out.")
        if self.text is not None and self.reparametrise:
            raise ValueError("'text' cannot begin what a network makes. Leave out text, or reparametrise.")
        return self

    @property
    def rates(self) -> str:
        """The network learns at the rate of any adapter's matrices; keys and values themselves at their own."""
        return "adapter" if self.reparametrise else self.kind

    def _add(self, net: nn.Module, name: str, seed: int) -> None:
        from tunewright.models import roots

        hidden = (self.hidden or 512) if self.reparametrise else None
        roots.add_prefix(net, name, self.tokens, text=self.text, hidden=hidden, seed=seed)
