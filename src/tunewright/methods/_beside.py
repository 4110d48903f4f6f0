"""What the methods share that put something beside the base: they are switched off by the net's route."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tunewright.core.parts import Method

if TYPE_CHECKING:
    from torch import nn


class BesideBase(Method):
    """The base stays frozen; the result is a small folder beside it."""

    has_adapter: ClassVar[bool] = True

    @contextmanager
    def off(self, net: nn.Module) -> Iterator[None]:
        """The base alone."""
        from tunewright.models.beside import route_of

        with route_of(net).off():
            yield


def base_name(net: Any) -> str:
    """The base as an adapter's settings name it."""
    return str(getattr(net.config, "_name_or_path", ""))
