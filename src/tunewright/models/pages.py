"""Weights in large memory pages: a core that reads a matrix from small ones waits for page tables half of the time."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import nn

LARGE = 2**21  # bytes of a large page
SMALL = 2**16  # a weight of fewer bytes is left to itself


def in_large_pages(net: nn.Module) -> None:
    """Move the weights of a net on the CPU into memory that the system is asked to back with large pages.

    Matrices of one module stand behind each other there (`side_by_side`). Values and sharing stay. Small weights are
    copied too: a view of the mapped file would keep all of it in memory. Where the system knows no such pages nothing
    happens.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    on_cpu = [(name, weight) for name, weight in net.named_parameters() if weight.device.type == "cpu"]
    matrices = [(name, weight) for name, weight in on_cpu if weight.nbytes >= SMALL]
    for _, same in groupby(matrices, lambda named: (named[0].split(".")[:-2], named[1].dtype)):
        _move([weight for _, weight in same])
    for _, weight in on_cpu:
        if weight.nbytes < SMALL:
            weight.data = weight.data.clone()


def side_by_side(weights: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Matrices (each of as many columns) as one view, if they stand behind each other in memory."""
    first = weights[0].detach()
    end = first.storage_offset()
    for weight in weights:
        apart = weight.untyped_storage().data_ptr() != first.untyped_storage().data_ptr()
        if apart or weight.storage_offset() != end or weight.shape[1] != first.shape[1] or not weight.is_contiguous():
            return None
        end += weight.numel()
    return first.as_strided((sum(len(weight) for weight in weights), first.shape[1]), first.stride())


def _move(weights: Sequence[nn.Parameter]) -> None:
    room = _room(sum(weight.numel() for weight in weights), weights[0].dtype)
    for weight, place in zip(weights, room.split([weight.numel() for weight in weights]), strict=True):
        weight.data = place.view(weight.shape).copy_(weight.data)


def _room(numbers: int, dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor in a mapping of its own, which goes when the last view of it does."""
    nbytes = numbers * dtype.itemsize
    size = nbytes + LARGE  # with room to begin at the edge of a page
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory would get small ones
    memory.madvise(mmap.MADV_HUGEPAGE)
    everything = torch.frombuffer(memory, dtype=torch.uint8)
    edge = -everything.data_ptr() % LARGE
    return everything[edge : edge + nbytes].view(dtype)
