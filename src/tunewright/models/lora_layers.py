"""Linear layers with named low-rank adapters beside them (LoRA, Hu et al. 2021, arXiv 2106.09685, eq. 3).

h = W x + scale * B A x, with B = 0 at the start. With a start of its own (models/lora_starts.py) h = W x + scale *
(B A - B0 A0) x, where B0 A0 is what B A was at the start: W stays as it is. With DoRA (Liu et al. 2024, arXiv
2402.09353, eq. 5) the rows of the sum V have lengths m of their own, h = m V / |V| x, and |V| is a constant to the
gradient (section 4.3).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from tunewright.core.errors import CannotMerge, DataError
from tunewright.models import beside, lora_starts
from tunewright.models.beside import Beside, Route, key
from tunewright.models.quantised import Nf4Linear

Linears = (nn.Linear, Conv1D, Nf4Linear)
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class LoraShape:
    """What an adapter is made of. ranks, alphas: other values for layers whose names match a pattern; the first counts.

    start: how A and B begin, a word of lora_starts.STARTS.
    """

    rank: int
    alpha: float
    rslora: bool = False
    dropout: float = 0.0
    targets: Sequence[str] = field(default_factory=tuple)  # exact module names
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    dora: bool = False
    start: str = "default"

    @property
    def scale(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rsLoRA (Kalajdzievski 2023, arXiv 2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def at(self, path: str) -> LoraShape:
        """The shape at one layer."""
        return replace(
            self, rank=first_match(self.ranks, path, self.rank), alpha=first_match(self.alphas, path, self.alpha)
        )


def first_match(patterns: Mapping[str, Number], path: str, default: Number) -> Number:
    """The value of the first pattern that matches a layer's name or its end, as PEFT reads them."""
    return next((value for pattern, value in patterns.items() if fits(pattern, path)), default)


def fits(pattern: str, path: str) -> bool:
    """Whether a pattern matches a layer's whole name, or the end of it from a dot on."""
    return re.fullmatch(rf"(.*\.)?({pattern})", path) is not None


class LoraLinear(Beside):
    """A frozen linear layer and the adapters that act on it."""

    def __init__(self, base: nn.Module, route: Route) -> None:
        super().__init__(base, route)
        known: Any = own(base)
        self.transposed = isinstance(known, Conv1D)  # GPT-2 keeps weights as (in, out)
        if self.transposed:
            self.in_features, self.out_features = (int(size) for size in known.weight.shape)
        else:
            self.in_features, self.out_features = known.in_features, known.out_features
        self.A = nn.ParameterDict()
        self.B = nn.ParameterDict()
        self.A0 = nn.ParameterDict()  # frozen: where A and B began, if not at B = 0
        self.B0 = nn.ParameterDict()
        self.M = nn.ParameterDict()  # the lengths of DoRA
        self.scales: dict[str, float] = {}
        self.dropouts: dict[str, float] = {}
        self.dora: set[str] = set()
        self._lengths: dict[str, tuple[tuple[int, ...], torch.Tensor]] = {}

    def add(
        self,
        name: str,
        shape: LoraShape,
        generator: torch.Generator | None = None,
        *,
        values: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:
        """A new adapter. Without a start of its own A is uniform as PEFT draws it (Kaiming, a = sqrt 5), B zero.
        values: A and B that are known, of which copies are kept.
        """
        device = next(self.base.parameters()).device
        if values is not None:
            a, b = (value.float().clone() for value in values)
        elif shape.start == "default":
            bound = 1 / math.sqrt(self.in_features)
            a = torch.empty(shape.rank, self.in_features).uniform_(-bound, bound, generator=generator)
            b = torch.zeros(self.out_features, shape.rank)
        else:
            a, b = lora_starts.STARTS[shape.start](self._weight_OI(), shape.rank, shape.scale)
            self.A0[key(name)] = nn.Parameter(a.to(device, copy=True), requires_grad=False)
            self.B0[key(name)] = nn.Parameter(b.to(device, copy=True), requires_grad=False)
        self.A[key(name)] = nn.Parameter(a.to(device))
        self.B[key(name)] = nn.Parameter(b.to(device))
        self.scales[name] = shape.scale
        self.dropouts[name] = shape.dropout
        if shape.dora:
            self.dora.add(name)
            self.M[key(name)] = nn.Parameter(self._length(name).clone())

    def names(self) -> Collection[str]:
        """The adapters it holds."""
        return self.scales

    def remove(self, name: str) -> None:
        """Take one of them away."""
        for held in (self.A, self.B, self.A0, self.B0, self.M):
            if key(name) in held:
                del held[key(name)]
        del self.scales[name], self.dropouts[name]
        self.dora.discard(name)
        self._lengths.pop(name, None)

    def matrices(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A (rank, in) and B (out, rank) of one adapter; with a start of its own those of a plain LoRA of twice the
        rank: A over A0, B beside -B0.
        """
        at = key(name)
        if at not in self.A0:
            return self.A[at], self.B[at]
        return torch.cat([self.A[at], self.A0[at]]), torch.cat([self.B[at], -self.B0[at]], 1)

    def put(self, name: str, a: torch.Tensor, b: torch.Tensor, lengths: torch.Tensor | None) -> None:
        """Fill an adapter with what `matrices` gave, and the lengths of DoRA."""
        at = key(name)
        rank = len(self.A[at])
        with torch.no_grad():
            self.A[at].copy_(a[:rank])
            self.B[at].copy_(b[:, :rank])
            if at in self.A0:
                self.A0[at].copy_(a[rank:])
                self.B0[at].copy_(-b[:, rank:])
            if lengths is not None:
                self.M[at].copy_(lengths)

    def merged(self, name: str) -> torch.Tensor:
        """What the base's weight becomes, in float32 and in its shape."""
        a, b = self.matrices(name)
        weight_OI = self._weight_OI() + self.scales[name] * (b.float() @ a.float())
        if name in self.dora:
            weight_OI *= (self.M[key(name)].float() / self._length(name))[:, None]
        return weight_OI.t() if self.transposed else weight_OI

    @property
    def one_adapter(self) -> bool:
        """Whether the coming pass sends all tokens through at most one adapter, without dropout and without DoRA."""
        name = self.route.active
        draws = self.route.training and self.dropouts.get(name, 0.0) > 0
        return self.route.segments is None and not draws and name not in self.dora

    def acting(self) -> tuple[torch.Tensor | None, torch.Tensor | None, float]:
        """A, B and scale of the active adapter; None without one."""
        name = self.route.active
        if name not in self.scales:
            return None, None, 1.0
        return *self.matrices(name), self.scales[name]

    def after(self, out: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        """What the base makes of x, with what an adapter adds to it."""
        a, b = self.matrices(name)
        drops = self.route.training and self.dropouts[name] > 0
        given = nn.functional.dropout(x, self.dropouts[name]) if drops else x
        low = given.reshape(-1, self.in_features).to(a.dtype) @ a.t()
        if name in self.dora:
            return self._turned(out, given if drops else None, low @ b.t(), name)
        if out.dtype == a.dtype:
            return torch.addmm(out.reshape(-1, self.out_features), low, b.t(), alpha=self.scales[name]).view(out.shape)
        return out + (self.scales[name] * (low @ b.t())).to(out.dtype).view(out.shape)

    def _turned(self, out: torch.Tensor, given: torch.Tensor | None, low: torch.Tensor, name: str) -> torch.Tensor:
        """DoRA: of V x the base's part stands in `out` already, but for its lengths. given: x where it was dropped."""
        grown = (self.M[key(name)] / self._length(name)).to(low.dtype)
        bias: Any = self.base.bias
        if given is not None:
            part = given @ (self.weight if self.transposed else self.weight.t())
        else:
            part = out if bias is None else out - bias
        added = (grown - 1) * part.reshape(low.shape) + grown * (self.scales[name] * low)
        return out + added.to(out.dtype).view(out.shape)

    def _length(self, name: str) -> torch.Tensor:
        """The length of each row of V in float32, without gradient; of weights that do not train it is kept."""
        given = [self.weight, *(held[key(name)] for held in (self.A, self.B, self.A0, self.B0) if key(name) in held)]
        versions = tuple(number for t in given for number in (id(t), t._version))
        known = self._lengths.get(name)
        trains = any(t.requires_grad for t in given)  # the optimizer writes past the version numbers
        if known is not None and known[0] == versions and not trains:
            return known[1]
        with torch.no_grad():
            a, b = self.matrices(name)
            length = torch.linalg.norm(self._weight_OI() + self.scales[name] * (b.float() @ a.float()), dim=1)
        self._lengths[name] = (versions, length)
        return length

    def _weight_OI(self) -> torch.Tensor:
        weight = self.weight.detach().float()
        return weight.t() if self.transposed else weight


def own(module: nn.Module) -> nn.Module:
    """The base's own module below all that stand in for it."""
    below = beside.stood_for(module)
    return module if below is None else own(below)


def linear_names(net: nn.Module) -> list[str]:
    """Every linear layer of the backbone by name; the vocabulary head is not one of them."""
    head = own(net.get_output_embeddings())  # type: ignore[operator]
    return [p.name for p in beside.places(net) if isinstance(p.module, Linears) and p.module is not head]


def matching(net: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """Linear layers chosen by 'all', by a regular expression over the whole name, or by name endings.

    Raises DataError naming what there is, when nothing matches.
    """
    names = linear_names(net)
    if targets in ("all", "all-linear"):
        return names
    if isinstance(targets, str):
        found = [name for name in names if re.fullmatch(targets, name)]
    else:
        found = [name for name in names if any(name == t or name.endswith(f".{t}") for t in targets)]
    if not found:
        endings = sorted({name.rpartition(".")[2] for name in names})
        raise DataError(f"No linear layer matches {targets!r}. This model has layers ending in: {', '.join(endings)}.")
    return found


def add_adapter(net: nn.Module, name: str, shape: LoraShape, *, seed: int = 0) -> None:
    """Put a new adapter beside the named linear layers; drawn in the order of the names from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for target in shape.targets:
        beside.stand_in(net, target, LoraLinear).add(name, shape.at(target), generator)


def layers(net: nn.Module, name: str | None = None) -> Iterator[tuple[str, LoraLinear]]:
    """The wrapped layers that hold an adapter (any adapter when no name is given)."""
    return beside.holding(net, name, LoraLinear)


def merge_adapter(net: nn.Module, name: str) -> None:
    """Fold an adapter into the base's weights and take all wrappers away, in place. The sum is made in float32."""
    for path, layer in list(layers(net, name)):
        if isinstance(own(layer), Nf4Linear):
            raise CannotMerge(f"Layer {path} is quantised: merge into the unquantised base instead.")
        weight = layer.weight
        with torch.no_grad():
            weight.data = layer.merged(name).to(weight.dtype).contiguous()  # others may hold the old one
    beside.take_away(net)
