"""Numbers in eight bits: block-wise dynamic quantisation (Dettmers et al. 2022, arXiv 2110.02861, sections 2.1 and 3).

A block of 256 neighbours shares one scale, its largest magnitude; each number becomes the nearest of 256 values that
reach from the scale down to a millionth of it with a nearly constant relative error.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch

BLOCK = 256  # numbers that share a scale
SMALLEST = 4096  # tensors with fewer numbers stay as they are
_DECADES = 7


@cache
def dynamic_map(*, signed: bool, device: torch.device) -> torch.Tensor:
    """The 256 values, ascending, float32.

    Dynamic tree quantisation: as many leading zeros as powers of ten, and what bits remain after the one that ends them
    part that decade (0.1 to 1) evenly, each part standing for its middle. Without a sign every decade has one bit more.
    """
    values = [0.0, 1.0]
    for zeros in range(_DECADES):
        parts = 2 ** (_DECADES - 1 - zeros) * (1 if signed else 2)
        for number in range(parts):
            middle = (0.1 + 0.9 * (number + 0.5) / parts) / 10**zeros
            values += [middle, -middle] if signed else [middle]
    return torch.tensor(sorted(values), dtype=torch.float32, device=device)


@cache
def _search(*, signed: bool, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For the upper half of a float32's bits the lowest code that it can have; and where the next code begins.

    Numbers with the same upper half are nearer to each other than two borders, so one comparison settles the rest.
    """
    values = dynamic_map(signed=signed, device=torch.device("cpu"))
    borders = torch.cat([(values[1:] + values[:-1]) / 2, torch.tensor([float("inf")])])
    bits = torch.arange(2**16, dtype=torch.int32) << 16
    lowest = torch.minimum(bits.view(torch.float32), (bits | 0xFFFF).view(torch.float32))
    return torch.bucketize(lowest, borders[:-1]).to(device, torch.uint8), borders.to(device)


def quantise(values: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, *, signed: bool) -> None:
    """Write the codes (uint8) and scales (one a block) of float32 values, which are used up. values, codes: whole
    blocks, or a part of one.
    """
    blocks = values.view(len(scales), -1)
    torch.amax(blocks.abs(), 1, out=scales)
    blocks.div_(scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None])
    lowest, borders = _search(signed=signed, device=values.device)
    found = lowest.index_select(0, (values.view(torch.int32) >> 16).bitwise_and_(0xFFFF))
    torch.add(found, values > borders.index_select(0, found.int()), out=codes)


def dequantised(codes: torch.Tensor, scales: torch.Tensor, *, signed: bool) -> torch.Tensor:
    """The float32 values that codes and scales stand for."""
    values = dynamic_map(signed=signed, device=codes.device).index_select(0, codes.int())
    values.view(len(scales), -1).mul_(scales[:, None])
    return values


def moment_bytes(sizes: Iterable[int]) -> int:
    """Bytes of AdamW's two moments for tensors of so many numbers each."""
    return 2 * sum(4 * size if size < SMALLEST else size + 4 * num_blocks(size) for size in sizes)


def num_blocks(size: int) -> int:
    """Blocks of a tensor, the last of them perhaps a part."""
    return -(-size // BLOCK)
