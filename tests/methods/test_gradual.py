"""Gradual unfreezing and rates of their own, against the papers' figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.recipe import TrainOptions
from tunewright.models.forest import Row
from tunewright.models.own_weights import depths
from tunewright.training.step import Stepper

ROW = Row([(13 * n) % 290 for n in range(30)], [0.0] + [1.0] * 29, "row")


def open_depths(net: Any) -> set[int]:
    return {depth for depth, parameter in depths(net) if parameter.requires_grad}


def test_rates_are_those_of_the_paper(open_tiny: Callable[..., Any]) -> None:
    """lr / 2.6 for each layer below the top one."""
    net, method = open_tiny("llama").net, catalog.build("methods", "gradual")
    method.attach(net)
    groups = method.groups(net, 0.01)
    rates = sorted({round(group["lr"], 6) for group in groups}, reverse=True)
    assert rates == [0.01, 0.003846, 0.001479, 0.000569]
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert {group["decay"] for group in groups} == {True, False}
    assert all(p.dim() >= 2 for group in groups if group["decay"] for p in group["params"])


def test_depths_count_from_the_top(open_tiny: Callable[..., Any]) -> None:
    net = open_tiny("llama").net
    at = {id(parameter): depth for depth, parameter in depths(net)}
    named = {name: at[id(parameter)] for name, parameter in net.named_parameters()}
    assert named["model.embed_tokens.weight"] == 3
    assert [named[f"model.layers.{n}.mlp.up_proj.weight"] for n in range(3)] == [2, 1, 0]
    assert named["model.norm.weight"] == named["lm_head.weight"] == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {1: 1, 5: 1, 6: 2, 10: 2, 11: 3, 16: 4, 30: 4}),  # one more each epoch of 5 steps
        ({"every": 0.1}, {1: 1, 3: 1, 4: 2, 6: 2, 7: 3, 10: 4, 30: 4}),
        ({"every": 1.0}, {1: 1, 30: 1}),
    ],
)
def test_one_more_group_at_each_turn(
    options: dict[str, Any], expected: dict[int, int], open_tiny: Callable[..., Any]
) -> None:
    net, method = open_tiny("llama").net, catalog.build("methods", {"kind": "gradual", **options})
    method.attach(net)
    for step, count in expected.items():
        method.at(net, step=step, total=30, per_epoch=5)
        assert open_depths(net) == set(range(count))


def test_what_is_frozen_has_no_gradient_and_no_state(open_tiny: Callable[..., Any]) -> None:
    model, method = open_tiny("llama"), catalog.build("methods", "gradual")
    method.attach(model.net)
    stepper = Stepper(model, method, catalog.build("objectives", "pretrain"), TrainOptions(lr=1e-3, micro_tokens=60))
    before = {name: p.detach().clone() for name, p in model.net.named_parameters()}
    for step in (1, 2, 3):
        method.at(model.net, step=step, total=9, per_epoch=3)
        assert stepper.take([[ROW]], factor=1.0, seed=step).taken
    at = {id(parameter): depth for depth, parameter in depths(model.net)}
    for name, parameter in model.net.named_parameters():
        assert (parameter in stepper.optimizer.state) == (at[id(parameter)] == 0), name
        assert torch.equal(parameter, before[name]) == (at[id(parameter)] > 0), name


def test_lora_plus_gives_b_a_rate_of_its_own(open_tiny: Callable[..., Any]) -> None:
    """As PEFT's optimizer for LoRA+ has it: B at ratio times the rate, A at the rate."""
    from tunewright.models import lora_layers

    net, method = open_tiny("llama").net, catalog.build("methods", {"kind": "lora", "plus": 16.0, "dora": True})
    method.attach(net)
    rate = {id(p): group["lr"] for group in method.groups(net, 1e-3) for p in group["params"]}
    assert len(rate) == sum(p.requires_grad for p in net.parameters())
    for _, layer in lora_layers.layers(net):
        assert rate[id(layer.B["default"])] == 16e-3
        assert rate[id(layer.A["default"])] == rate[id(layer.M["default"])] == 1e-3


def test_saved_before_its_turn_comes_back_whole(open_tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, method = open_tiny("llama"), catalog.build("methods", "gradual")
    method.attach(model.net)
    method.at(model.net, step=1, total=9, per_epoch=3)
    method.save(model.net, tmp_path)
    again = open_tiny("llama")
    with torch.no_grad():
        for parameter in again.net.parameters():
            parameter.zero_()
    method.attach(again.net)
    method.load(again.net, tmp_path)
    for one, other in zip(model.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)
