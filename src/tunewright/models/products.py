"""Products of matrices, by the library that is the faster one for them on this processor."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional

PARTS = 16  # of a weight that one row meets: shared out over the cores, each part a matrix times a vector
FEW_ROWS = 128  # up to here oneDNN is the faster one on every processor,
SMALL = 2**20  # but for products of no more multiplications than this, as an adapter's low ranks
LARGE = 2**22  # multiplications from which oneDNN pays for the kernel that it makes for each new shape (0.3 ms)


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x W^T + b, in the number format of both; where gradients are asked for, as the library makes it.

    x: rows of inputs; weight: outputs by inputs. Torch gives float32 to MKL, which reads weights for a few rows at less
    than half of the memory's speed, and keeps its AVX-512 kernels to Intel's processors.
    """
    if not _float32(x, weight):
        return functional.linear(x, weight, bias)
    rows, work = len(x), len(x) * weight.numel()
    if rows == 1 and len(weight) % PARTS == 0 and weight.is_contiguous():
        parts = weight.view(PARTS, -1, weight.shape[1])
        out = torch.bmm(parts, x.t().expand(PARTS, -1, 1)).view(1, -1)
        return out if bias is None else out.add_(bias)
    if rows == 1 or (work >= SMALL if rows <= FEW_ROWS else work >= LARGE and one_dnn_knows_more()):
        made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return made
    return functional.linear(x, weight, bias)


def add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """total += left @ right, where no gradients are asked for."""
    if _float32(left, right) and len(left) * right.numel() >= LARGE and one_dnn_knows_more():
        total.add_(product(left, right.t()))
    else:
        total.addmm_(left, right)


def _float32(x: torch.Tensor, weight: torch.Tensor) -> bool:
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return False
    return x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and x.dim() == 2 and len(x) > 0


@cache
def one_dnn_knows_more() -> bool:
    """Whether oneDNN has wider kernels for this processor than MKL."""
    backends = torch.backends
    both = backends.mkl.is_available() and backends.mkldnn.is_available()
    return both and backends.cpu.get_cpu_capability() == "AVX512" and "Intel" not in _maker()


def _maker() -> str:
    about = Path("/proc/cpuinfo")
    if not about.exists():
        return platform.processor()
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith("vendor_id")), "")
