"""What stands beside a base: modules that stand in for its own and hold adapters by name.

A Route, shared by all of a net, says which adapter acts on which tokens, so that one pass serves several.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import nn


@dataclass
class Route:
    """Which adapter acts on which tokens of the coming forward pass; shared by all layers of a net.

    active: the adapter for all tokens ("" for none). segments: (adapter, count) in token order instead. training: draw
    dropout and noise.
    """

    active: str = ""
    segments: Sequence[tuple[str, int]] | None = None
    training: bool = False

    @contextmanager
    def sending(self, parts: Sequence[tuple[str, int]]) -> Iterator[None]:
        """Send each token to its adapter while this holds; "" means the active one, and the base beside named ones."""
        named = any(adapter for adapter, _ in parts)
        before = (self.active, self.segments)
        if len(parts) == 1 and named:
            self.active = parts[0][0]
        elif named:
            self.segments = parts
        try:
            yield
        finally:
            self.active, self.segments = before

    @contextmanager
    def off(self) -> Iterator[None]:
        """The base alone while this holds."""
        before, self.active = self.active, ""
        try:
            yield
        finally:
            self.active = before


def route_of(net: nn.Module) -> Route:
    """The route shared by all adapter layers of a net; made at the first call."""
    held = net.__dict__.get("_tunewright_route")
    if held is None:
        held = net.__dict__["_tunewright_route"] = Route()
    return held


class Beside(nn.Module):
    """Stands in for `base`, a module of the base, and holds adapters for it by name. Works on (..., features).

    A module with `stands_for` (another library's may be given one) holds, under that name, what it stands in for; all
    else it holds is added and not the base's.
    """

    stands_for: ClassVar[str] = "base"

    def __init__(self, base: nn.Module, route: Route) -> None:
        super().__init__()
        self.base = base
        self.route = route

    @property
    def weight(self) -> torch.Tensor:
        """The base's weight: some models look at its dtype or device."""
        return self.base.weight  # type: ignore[return-value]

    def names(self) -> Collection[str]:
        """The adapters it holds."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Take one of them away."""
        raise NotImplementedError

    def before(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """What the base is given in place of x by an adapter it holds."""
        return x

    def after(self, out: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        """What an adapter it holds makes of the base's output."""
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., in) -> (..., out)."""
        held = self.names()
        if self.route.segments is not None:
            leaves_x = type(self).before is Beside.before
            given = x if leaves_x else _by_segment(self.route.segments, held, self.before, x)
            return _by_segment(self.route.segments, held, self.after, self.base(given), x)
        if self.route.active not in held:
            return self.base(x)  # type: ignore[no-any-return]
        return self.after(self.base(self.before(x, self.route.active)), x, self.route.active)


def _by_segment(
    segments: Sequence[tuple[str, int]], held: Collection[str], act: Callable[..., torch.Tensor], *tensors: torch.Tensor
) -> torch.Tensor:
    """What `act` makes of each segment's tokens; those of adapters that are not held stay as they are."""
    if not any(name in held for name, _ in segments):
        return tensors[0]
    counts = [count for _, count in segments]
    parts = zip(*(t.reshape(-1, t.shape[-1]).split(counts) for t in tensors), strict=True)
    pieces = [act(*part, name) if name in held else part[0] for (name, _), part in zip(segments, parts, strict=True)]
    return torch.cat(pieces).view(*tensors[0].shape[:-1], -1)


def key(name: str) -> str:
    """An adapter's name as a key of a module, which may not hold dots."""
    return name.replace(".", "__dot__")


class Place(NamedTuple):
    """Where a module hangs, under the name that it, or what it stands in for, has in the untouched base."""

    name: str
    parent: nn.Module
    child: str
    module: nn.Module


def stood_for(module: nn.Module) -> nn.Module | None:
    """What a module stands in for; None for one of the base's own."""
    child = getattr(module, "stands_for", None)
    return None if child is None else module._modules[child]


def places(net: nn.Module) -> Iterator[Place]:
    """Every module inside a net, in the order of its parts; one that stands in comes before what it stands in for."""
    yield from _inside(net, "")


def _inside(module: nn.Module, prefix: str) -> Iterator[Place]:
    for child, held in list(module._modules.items()):
        if held is not None:
            for place in _chain(Place(f"{prefix}{child}", module, child, held)):
                yield place
                if stood_for(place.module) is None:
                    yield from _inside(place.module, f"{place.name}.")


def _chain(place: Place) -> Iterator[Place]:
    """A place and, below it, what its module stands in for, and so on down to the base's own."""
    yield place
    below = stood_for(place.module)
    if below is not None:
        yield from _chain(Place(place.name, place.module, place.module.stands_for, below))  # type: ignore[arg-type]


def chain_at(net: nn.Module, name: str) -> list[Place]:
    """The modules that stand in for a named one, outermost first, and that itself at the end."""
    parent, found = net, []
    for child in name.split("."):
        found = list(_chain(Place(name, parent, child, getattr(parent, child))))
        parent = found[-1].module
    return found


B = TypeVar("B", bound=Beside)


def stand_in(net: nn.Module, name: str, kind: type[B]) -> B:
    """The module of this kind that stands in for a named one; made at the first call."""
    chain = chain_at(net, name)
    for place in chain:
        if type(place.module) is kind:
            return place.module
    made = kind(chain[0].module, route_of(net))
    setattr(chain[0].parent, chain[0].child, made)
    return made


def holding(net: nn.Module, name: str | None, kind: type[B]) -> Iterator[tuple[str, B]]:
    """The modules of this kind that hold an adapter (any when no name is given), by what they stand in for."""
    for place in places(net):
        if isinstance(place.module, kind) and (name is None or name in place.module.names()):
            yield place.name, place.module


def drop(net: nn.Module, name: str) -> None:
    """Take an adapter away, and every module that holds nothing any more."""
    for place in list(places(net)):
        if isinstance(place.module, Beside) and name in place.module.names():
            place.module.remove(name)
    take_away(net, lambda module: isinstance(module, Beside) and not module.names())


def take_away(net: nn.Module, which: Callable[[nn.Module], bool] = lambda module: True) -> None:
    """Put what is stood in for back in the place of those that stand in for it, all of them or some."""
    for place in list(places(net)):
        chain = chain_at(net, place.name) if stood_for(place.module) is not None else []
        for link in reversed(chain):
            below = stood_for(link.module)
            if below is not None and which(link.module):
                setattr(link.parent, link.child, below)


@contextmanager
def bare(net: nn.Module, *, but: Callable[[nn.Module], bool] = lambda module: False) -> Iterator[None]:
    """The untouched base (but for some) while this holds; then what stood in for its modules stands in for what is
    there now.
    """
    kept: dict[str, list[Any]] = {}
    for place in places(net):
        if stood_for(place.module) is not None and not but(place.module):
            kept.setdefault(place.name, []).append(place.module)
    take_away(net, lambda module: not but(module))
    try:
        yield
    finally:
        for name, chain in kept.items():
            [top, *_] = chain_at(net, name)
            for outer, inner in itertools.pairwise([*chain, top.module]):
                setattr(outer, outer.stands_for, inner)
            setattr(top.parent, top.child, chain[0])
