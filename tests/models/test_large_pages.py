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
