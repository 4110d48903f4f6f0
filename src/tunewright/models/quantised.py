"""Frozen linear layers kept in 4-bit NormalFloat (Dettmers et al. 2023, arXiv 2305.14314, section 3).

A weight is one of 16 values of its block of 64; with double quantisation a block's scale is 8 bits, 256 scales sharing
one of 32: 4 + 8/64 + 32/(64 * 256) = 4.127 bits a weight, 4.5 without. The weight is made again wherever it is needed.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import linear

from tunewright.core.errors import MissingPackage

if TYPE_CHECKING:
    from bitsandbytes.functional import QuantState

BLOCK = 64


def bits_a_weight(*, double: bool) -> float:
    """What a weight takes, its share of the scales included."""
    return 4 + (8 / BLOCK + 32 / (BLOCK * 256) if double else 32 / BLOCK)


class Nf4Linear(nn.Module):
    """A frozen linear layer whose weight is kept in NF4."""

    packed: torch.Tensor
    scales: torch.Tensor
    outer: torch.Tensor
    middle: torch.Tensor

    def __init__(self, plain: nn.Linear, *, double: bool) -> None:
        super().__init__()
        functional = _functional()
        self.in_features, self.out_features, self.bias = plain.in_features, plain.out_features, plain.bias
        self.dtype, self.nested = plain.weight.dtype, double
        packed, state = functional.quantize_4bit(
            plain.weight.data, blocksize=BLOCK, compress_statistics=double, quant_type="nf4"
        )
        self.packed = nn.Parameter(packed, requires_grad=False)
        self.register_buffer("scales", state.absmax)
        self.register_buffer("outer", state.state2.absmax if double else torch.empty(0))
        self.register_buffer("middle", state.offset if double else torch.empty(0))
        self._codes = (state.code, state.state2.code if double else None)  # 16 and 256 values, the same for all layers

    @property
    def weight(self) -> torch.Tensor:
        """The weight, made again: a new tensor at each call."""
        made: torch.Tensor = _functional().dequantize_4bit(self.packed, self._state())
        return made

    def _state(self) -> QuantState:
        functional = _functional()
        inner, outer = (None if code is None else code.to(self.packed.device) for code in self._codes)
        nested = None
        if self.nested:
            nested = functional.QuantState(absmax=self.outer, code=outer, blocksize=256, dtype=torch.float32)
        return functional.QuantState(
            absmax=self.scales,
            shape=torch.Size([self.out_features, self.in_features]),
            code=inner,
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=self.dtype,
            offset=self.middle if self.nested else None,
            state2=nested,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., in) -> (..., out)."""
        out: torch.Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias


class _Product(torch.autograd.Function):
    """x W' of a frozen weight, which is made again in the backward pass rather than kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Nf4Linear) -> torch.Tensor:  # type: ignore[override]
        ctx.layer = layer
        return linear(x, layer.weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:  # type: ignore[override]
        return upstream @ ctx.layer.weight.to(upstream.dtype), None


def quantise(net: nn.Module, *, double: bool) -> None:
    """Keep every linear layer of the backbone in NF4, in place; embeddings, norms and the vocabulary head stay.

    Raises MissingPackage without bitsandbytes.
    """
    _functional()
    head = net.get_output_embeddings()  # type: ignore[operator]
    for path, module in list(net.named_modules()):
        if type(module) is nn.Linear and module is not head:
            parent, _, child = path.rpartition(".")
            setattr(net.get_submodule(parent), child, Nf4Linear(module, double=double))
    net.requires_grad_(False)


@cache
def _functional() -> Any:
    """bitsandbytes.functional, imported so that it neither warns nor fetches compiled code from the Hub."""
    before = sys.modules.get("kernels", _functional)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes.functional as functional
    except ImportError:
        raise MissingPackage("bitsandbytes", needed_for="Method 'qlora'") from None
    finally:
        del sys.modules["kernels"]
        if before is not _functional:
            sys.modules["kernels"] = before  # type: ignore[assignment]
    return functional
