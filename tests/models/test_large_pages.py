"""Weights in large pages are the weights that were read."""

from __future__ import annotations

import mmap
from typing import Any

import pytest
import torch
from torch import nn

from tunewright.models import pages


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no large pages on request")
def test_values_and_sharing_stay_and_large_matrices_begin_at_the_edge_of_a_page() -> None:
    net: Any = nn.ModuleDict({"wide": nn.Linear(1024, 1024), "tied": nn.Linear(1024, 1024), "small": nn.Linear(4, 4)})
    net["tied"].weight = net["wide"].weight
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small = net["small"].weight.data_ptr()
    pages.in_large_pages(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net["tied"].weight is net["wide"].weight
    assert net["wide"].weight.data_ptr() % pages.LARGE == 0 and net["small"].weight.data_ptr() != small
    net["wide"].weight.data.add_(1)  # private memory, to be written
    assert torch.equal(net["tied"].weight, before["wide.weight"] + 1)


def test_matrices_of_one_module_become_one_matrix() -> None:
    net: Any = nn.ModuleDict({name: nn.ModuleDict({"a": nn.Linear(256, 96), "b": nn.Linear(256, 64)}) for name in "xy"})
    first, second = net["x"]["a"].weight, net["x"]["b"].weight
    assert pages.side_by_side([first, second]) is None
    pages.in_large_pages(net)
    joint = pages.side_by_side([first, second])
    if hasattr(mmap, "MADV_HUGEPAGE"):
        assert joint is not None and torch.equal(joint, torch.cat([first, second]))
        joint[96:] += 1  # a view
        assert torch.equal(joint[96:], second)
    assert pages.side_by_side([second, first]) is None
    assert pages.side_by_side([second, net["y"]["a"].weight]) is None
