"""What the methods share that learn a root: what stands before every row, while the base stays untouched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.methods._beside import BesideBase, base_name

if TYPE_CHECKING:
    from torch import nn


class Rooted(BesideBase):
    """Freezes the base; switched off, the rows stand alone. A root is no part of any weight, so it cannot be merged."""

    starts_as_base: ClassVar[bool] = False

    tokens: int = Field(20, ge=1, description="Length of the root: more learns more, and takes room in the context.")
    text: str | None = Field(
        None, description="Begin as these words, repeated or cut to the length; as drawn words when left out."
    )

    @property
    def root_tokens(self) -> int:
        """All of them."""
        return self.tokens

    @property
    def mergeable(self) -> bool:
        """Never."""
        return False

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and put the root beside it."""
        from tunewright.models.beside import route_of

        net.requires_grad_(False)
        with route_of(net).off():  # what the net makes of the first words is the base's alone
            self._add(net, name, seed)
        route_of(net).active = name
        return net

    def _add(self, net: nn.Module, name: str, seed: int) -> None:
        raise NotImplementedError

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Not possible: raises CannotMerge."""
        from tunewright.core.errors import CannotMerge

        raise CannotMerge(
            "What stands before the rows (prompt and prefix tuning) can become no weight of the base. Release it as "
            "'adapter'."
        )

    def hand_on(self, net: nn.Module) -> None:
        """The root becomes the base's own, fixed before every row."""
        from tunewright.models import roots

        roots.fix(net, "default")

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the root in PEFT's layout, and what makes it."""
        from tunewright.models import roots

        roots.save(net, name, folder, base=base_name(net), network=True)

    def export(self, net: nn.Module, folder: Path) -> None:
        """Write the root in PEFT's layout."""
        from tunewright.models import roots

        roots.save(net, "default", folder, base=base_name(net))

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached root from a folder."""
        from tunewright.models import roots

        roots.fill(net, name, folder)
