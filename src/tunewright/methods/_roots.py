"""What the methods share that learn a root: what stands before every row, while the base stays untouched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.parts import Method

if TYPE_CHECKING:
    from torch import nn


class Rooted(Method):
    """Freezes the base; switched off, the rows stand alone. A root is no part of any weight, so it cannot be merged."""

    has_adapter: ClassVar[bool] = True
    can_merge: ClassVar[bool] = False
    starts_as_base: ClassVar[bool] = False

    tokens: int = Field(
        20, ge=1, description="Length of the root: more learn more, and take their place in the context."
    )
    text: str | None = Field(
        None, description="Begin as these words, repeated or cut to the length; as drawn words when left out."
    )

    @property
    def root_tokens(self) -> int:
        """All of them."""
        return self.tokens

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and put the root beside it."""
        from tunewright.models import lora_layers

        net.requires_grad_(False)
        lora_layers.route_of(net).active = ""  # what the net makes of the first words is the base's alone
        self._add(net, name, seed)
        lora_layers.route_of(net).active = name
        return net

    def _add(self, net: nn.Module, name: str, seed: int) -> None:
        raise NotImplementedError

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Not possible."""
        from tunewright.core.errors import CannotMerge

        raise CannotMerge(
            f"Method '{self.kind}' learns what stands before the rows, which no weight of the base can hold. "
            "Release it as 'adapter'."
        )

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the root in PEFT's layout."""
        from tunewright.models import roots

        roots.save(net, name, folder, base=str(getattr(net.config, "_name_or_path", "")))

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached root from a folder."""
        from tunewright.models import roots

        roots.fill(net, name, folder)

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
