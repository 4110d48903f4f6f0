"""Autograd functions that keep little for the backward pass: what is cheap to make again is not kept.

Linear layers that share an input are one function, so that the input (a normalised or gated tensor) is made again once
for all of them. Shape letters: N tokens, D features in, O features out, R rank of one adapter, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch.nn.functional import rms_norm, silu

from tunewright.models.products import add_product, product

Tensors = tuple[torch.Tensor, ...]
Gradients = tuple[torch.Tensor | None, ...]


class Projection(NamedTuple):
    """One linear layer and the adapter that acts on it: x weight' + bias + scale * (x a') b'."""

    weight: torch.Tensor  # OD
    bias: torch.Tensor | None = None
    a: torch.Tensor | None = None  # RD
    b: torch.Tensor | None = None  # OR
    scale: float = 1.0


class Source(Protocol):
    """How the input of linear layers is made from tensors that are kept anyway."""

    def make(self, given: Tensors) -> tuple[torch.Tensor, Tensors]:
        """The input, and small tensors worth keeping."""

    def again(self, given: Tensors, kept: Tensors) -> torch.Tensor:
        """The input once more."""

    def gradients(self, given: Tensors, kept: Tensors, upstream: torch.Tensor, needed: Sequence[bool]) -> Gradients:
        """Of what it was made from. `upstream` may be overwritten."""


class Plain:
    """x itself."""

    def make(self, given: Tensors) -> tuple[torch.Tensor, Tensors]:
        """As it is."""
        return given[0], ()

    def again(self, given: Tensors, kept: Tensors) -> torch.Tensor:
        """As it is."""
        return given[0]

    def gradients(self, given: Tensors, kept: Tensors, upstream: torch.Tensor, needed: Sequence[bool]) -> Gradients:
        """As it is."""
        return (upstream,)


class RMSNorm(NamedTuple):
    """x / rms(x) * weight over the last dimension (Zhang & Sennrich 2019, arXiv 1910.07467, eq. 4)."""

    eps: float

    def make(self, given: Tensors) -> tuple[torch.Tensor, Tensors]:
        """Keeps one number for each vector, 1 / rms(x); nothing where one kernel makes it again as fast."""
        if _in_one_kernel(given[0]):
            return self.again(given, ()), ()
        inverse = _wide(given[0]).pow(2).mean(-1, keepdim=True).add_(self.eps).rsqrt_()
        return self.again(given, (inverse,)), (inverse,)

    def again(self, given: Tensors, kept: Tensors) -> torch.Tensor:
        """From x, the weight and 1 / rms(x)."""
        x, weight = given
        if not kept:
            return rms_norm(x, x.shape[-1:], weight, self.eps)
        return (_wide(x) * kept[0]).to(x.dtype).mul_(weight)

    def gradients(self, given: Tensors, kept: Tensors, upstream: torch.Tensor, needed: Sequence[bool]) -> Gradients:
        """Of x and of the weight."""
        x, weight = given
        if not kept:
            with torch.enable_grad():
                inputs = [t.detach().requires_grad_(wanted) for t, wanted in zip(given, needed, strict=False)]
                out = rms_norm(inputs[0], x.shape[-1:], inputs[1], self.eps)
                found = iter(torch.autograd.grad(out, [t for t in inputs if t.requires_grad], upstream))
            return tuple(next(found) if t.requires_grad else None for t in inputs)
        (inverse,) = kept
        normed = _wide(x) * inverse
        of_weight = (upstream * normed).flatten(0, -2).sum(0).to(weight.dtype) if needed[1] else None
        if not needed[0]:
            return None, of_weight
        upstream = _wide(upstream).mul_(weight)
        along = torch.linalg.vecdot(upstream, normed)[..., None] / x.shape[-1]
        return upstream.sub_(normed.mul_(along)).mul_(inverse).to(x.dtype), of_weight


class SwiGLU:
    """silu(gate) * up (Shazeer 2020, arXiv 2002.05202, eq. 6)."""

    def make(self, given: Tensors) -> tuple[torch.Tensor, Tensors]:
        """Keeps nothing more than gate and up."""
        return self.again(given, ()), ()

    def again(self, given: Tensors, kept: Tensors) -> torch.Tensor:
        """From gate and up."""
        return silu(given[0]).mul_(given[1])

    def gradients(self, given: Tensors, kept: Tensors, upstream: torch.Tensor, needed: Sequence[bool]) -> Gradients:
        """Of gate and of up."""
        gate, up = given
        of_up = silu(gate).mul_(upstream)
        return torch.ops.aten.silu_backward(upstream.mul_(up), gate), of_up


def linears(source: Source, given: Tensors, layers: Sequence[Projection]) -> Tensors:
    """What each layer (NO) makes of the input (ND) that `source` makes of what is given."""
    scales = tuple(layer.scale for layer in layers)
    out: Tensors = _Linears.apply(source, scales, *given, *(t for layer in layers for t in layer[:4]))  # type: ignore[no-untyped-call]
    return out


class _Linears(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Source, scales: Sequence[float], *tensors: Any) -> Tensors:  # type: ignore[override]
        given, layers = _parted(tensors, scales)
        x, kept = source.make(given)
        out = tuple(product(x, layer.weight, layer.bias) for layer in layers)
        a, ranks = _all_a(x, layers)
        high, *rest = _halves(a, x.dtype)
        low = product(x, high)  # one product for all adapters
        for half in rest:
            low += product(x, half)
        for made, layer, part in zip(out, layers, low.split(ranks, 1), strict=True):
            if layer.b is not None:
                for half in _halves(layer.b, x.dtype):
                    made.addmm_(part, half.t(), alpha=layer.scale)
        ctx.source, ctx.scales, ctx.num_kept = source, scales, len(kept)
        ctx.save_for_backward(*kept, low, *tensors)
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:  # type: ignore[override]
        saved = ctx.saved_tensors  # asked for once: computed again, they are handed out once only
        kept, (low, *tensors) = saved[: ctx.num_kept], saved[ctx.num_kept :]
        given, layers = _parted(tensors, ctx.scales)
        needed = ctx.needs_input_grad[2:]
        found: list[torch.Tensor | None] = [None] * len(needed)
        x = ctx.source.again(given, kept)
        a, ranks = _all_a(x, layers)
        a = a.to(x.dtype)
        of_x: Any = None
        of_low = torch.empty_like(low)
        first = len(given)
        parts = zip(layers, upstream, low.split(ranks, 1), of_low.split(ranks, 1), strict=True)
        for at, (layer, gradient, part, of_part) in zip(range(first, len(needed), 4), parts, strict=True):
            if needed[at]:
                found[at] = product(gradient.t(), x.t())
            if needed[at + 1]:
                found[at + 1] = gradient.sum(0)
            if layer.b is not None:
                torch.mm(gradient, layer.b.to(x.dtype), out=of_part).mul_(layer.scale)
                found[at + 3] = torch.mm(gradient.t(), part).mul_(layer.scale) if needed[at + 3] else None
            if any(needed[:first]):
                if of_x is None:
                    of_x = product(gradient, layer.weight.t())
                else:
                    add_product(of_x, gradient, layer.weight)
        if any(needed[first + 2 :: 4]):
            pieces = (of_low.t() @ x).split(ranks)
            found[first + 2 :: 4] = [
                piece if layer.a is not None else None for piece, layer in zip(pieces, layers, strict=True)
            ]
        if of_x is not None:
            if len(a):
                of_x.addmm_(of_low, a)
            del x
            found[:first] = ctx.source.gradients(given, kept, of_x, needed)
        return None, None, *found


def _parted(tensors: Sequence[Any], scales: Sequence[float]) -> tuple[Tensors, list[Projection]]:
    """What the source was given, and the layers: four tensors each, at the end."""
    first = len(tensors) - 4 * len(scales)
    fours = [tensors[at : at + 4] for at in range(first, len(tensors), 4)]
    return tuple(tensors[:first]), [
        Projection(weight, bias, a, b, scale) for (weight, bias, a, b), scale in zip(fours, scales, strict=True)
    ]


def _all_a(x: torch.Tensor, layers: Sequence[Projection]) -> tuple[torch.Tensor, list[int]]:
    """The A of all adapters, one below the other, and the rank of each layer's; 0 for a layer without."""
    found = [layer.a for layer in layers if layer.a is not None]
    ranks = [0 if layer.a is None else len(layer.a) for layer in layers]
    return torch.cat(found) if found else x.new_empty(0, x.shape[1]), ranks


def _halves(weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """A weight as a sum in a coarser format: rounded, and what that left. An adapter is kept in float32 beside a base
    in half precision; were it only rounded, small steps of its training would change nothing.
    """
    high = weight.to(dtype)
    return (high,) if weight.dtype == dtype else (high, (weight - high).to(dtype))


def normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """RMSNorm alone, over the last dimension."""
    out: torch.Tensor = _Normed.apply(x, weight, RMSNorm(eps))  # type: ignore[no-untyped-call]
    return out


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, norm: RMSNorm) -> torch.Tensor:  # type: ignore[override]
        out, kept = norm.make((x, weight))
        ctx.norm = norm
        ctx.save_for_backward(x, weight, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:  # type: ignore[override]
        x, weight, *kept = ctx.saved_tensors
        return *ctx.norm.gradients((x, weight), tuple(kept), upstream.clone(), ctx.needs_input_grad), None


def rotated(x_NHD: torch.Tensor, cos_ND: torch.Tensor, sin_ND: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864, eq. 34, in halves): each half of a head's features turned."""
    out: torch.Tensor = _Rotated.apply(x_NHD, cos_ND, sin_ND)  # type: ignore[no-untyped-call]
    return out


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NHD: torch.Tensor, cos_ND: torch.Tensor, sin_ND: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(cos_ND, sin_ND)
        return _turned(x_NHD, cos_ND, sin_ND)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:  # type: ignore[override]
        cos_ND, sin_ND = ctx.saved_tensors
        return _turned(upstream, cos_ND, -sin_ND.roll(sin_ND.shape[1] // 2, 1)), None, None


def _turned(x_NHD: torch.Tensor, cos_ND: torch.Tensor, sin_ND: torch.Tensor) -> torch.Tensor:
    half = x_NHD.shape[2] // 2
    out = torch.empty(x_NHD.shape, dtype=x_NHD.dtype, device=x_NHD.device)
    cos, sin = cos_ND[:, None], sin_ND[:, None]
    left, right = x_NHD[..., :half], x_NHD[..., half:]
    torch.mul(left, cos[..., :half], out=out[..., :half]).addcmul_(right, sin[..., :half], value=-1)
    torch.mul(right, cos[..., half:], out=out[..., half:]).addcmul_(left, sin[..., half:])
    return out


def _in_one_kernel(x: torch.Tensor) -> bool:
    """Whether the library's RMSNorm is one kernel here: on a GPU, where each kernel reads and writes all of x."""
    return x.is_cuda


def _wide(x: torch.Tensor) -> torch.Tensor:
    """In float32 at least."""
    return x if x.dtype == torch.float64 else x.float()
