"""Where a LoRA adapter begins, when it is not at B = 0: A and B that hold a part of the base's weight.

The base is not changed: what B A is at the start is taken off again beside it (models/lora_layers.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch


def principal(weight_OI: torch.Tensor, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """PiSSA: scale * B A is the part of the largest singular values, their roots in both (Meng et al. 2024, arXiv
    2404.02948, eq. 2 and 3).
    """
    if weight_OI.is_meta:
        return _empty(weight_OI, rank)
    left, values, right = torch.linalg.svd(weight_OI, full_matrices=False)
    root = (values[:rank] / scale).sqrt()
    return (root[:, None] * right[:rank]).contiguous(), (left[:, :rank] * root).contiguous()


def orthonormal(weight_OI: torch.Tensor, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """OLoRA: B is the first columns of Q and A the first rows of R in W = Q R (Buyukakyuz 2024, arXiv 2406.01775,
    section 3).
    """
    if weight_OI.is_meta:
        return _empty(weight_OI, rank)
    q, r = torch.linalg.qr(weight_OI)
    return r[:rank].contiguous(), q[:, :rank].contiguous()


def _empty(weight_OI: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """On a skeleton without values only the shapes matter."""
    num_out, num_in = weight_OI.shape
    return weight_OI.new_empty(rank, num_in), weight_OI.new_empty(num_out, rank)


STARTS: dict[str, Callable[[torch.Tensor, int, float], tuple[torch.Tensor, torch.Tensor]]] = {
    "pissa": principal,
    "olora": orthonormal,
}
