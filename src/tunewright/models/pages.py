"""Weights in large memory pages: a core that reads a matrix from small ones waits for page tables half of the time."""

from __future__ import annotations

import mmap

import torch
from torch import nn

LARGE = 2**21  # bytes of a large page


def in_large_pages(net: nn.Module) -> None:
    """Move the weights of a net on the CPU, one by one, into memory that the system is asked to back with large pages.

    Values and sharing stay. Small ones are copied too: a view of the mapped file would keep all of it in memory. Where
    the system knows no such pages nothing happens.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    for parameter in net.parameters():  # a shared one comes once
        if parameter.device.type == "cpu":
            large = parameter.nbytes >= LARGE
            parameter.data = _room(parameter).copy_(parameter.data) if large else parameter.data.clone()


def _room(like: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor in a mapping of its own, which goes when the tensor does."""
    size = like.nbytes + LARGE  # with room to begin at the edge of a page
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory would get small ones
    memory.madvise(mmap.MADV_HUGEPAGE)
    everything = torch.frombuffer(memory, dtype=torch.uint8)
    edge = -everything.data_ptr() % LARGE
    return everything[edge : edge + like.nbytes].view(like.dtype).view(like.shape)
