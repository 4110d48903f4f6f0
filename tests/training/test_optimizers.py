"""AdamW in eight bits follows AdamW, takes the bytes it says, and goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import linear

from tunewright.core import catalog
from tunewright.core.recipe import TrainOptions
from tunewright.models import eight_bit
from tunewright.models.forest import Row
from tunewright.training import checkpoints, optimizers
from tunewright.training.step import Stepper

BETAS = (0.9, 0.999)
UNITS = [[Row([(k * n) % 290 for n in range(1, 20 + k)], [0.0] * 9 + [1.0] * (10 + k), f"e{k}")] for k in range(7)]


@pytest.fixture
def all_in_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of a tiny model are quantised too."""
    monkeypatch.setattr(eight_bit, "SMALLEST", 1)


@pytest.mark.parametrize("signed", [True, False])
def test_the_map_is_that_of_dynamic_tree_quantisation(signed: bool) -> None:
    """Zero, one, and in each of seven decades, from 0.1 to 1 down, 64, 32 ... 1 middles a side (128 ... without)."""
    values = eight_bit.dynamic_map(signed=signed, device=torch.device("cpu"))
    assert len(values.unique()) == 256 and values.tolist() == sorted(values.tolist())
    assert {0.0, 1.0} <= set(values.tolist()) and (values.min() < 0) == signed
    largest = 0.1 + 0.9 * (63.5 / 64 if signed else 127.5 / 128)
    assert values[-2].item() == pytest.approx(largest)
    for decade, count in enumerate([64, 32, 16, 8, 4, 2, 1]):
        inside = (values > 0.1 * 10.0**-decade) & (values < 10.0**-decade)
        assert int(inside.sum()) == count * (1 if signed else 2)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("size", [256, 1000, 5])
def test_every_number_becomes_the_nearest_of_its_block(signed: bool, size: int) -> None:
    draw = torch.Generator().manual_seed(0)
    for start in range(0, size, 256):
        exact = torch.randn(min(256, size - start), generator=draw) ** 3
        exact = exact if signed else exact.abs()
        codes, scales = torch.empty(len(exact), dtype=torch.uint8), torch.empty(1)
        eight_bit.quantise(exact.clone(), codes, scales, signed=signed)
        values = eight_bit.dynamic_map(signed=signed, device=torch.device("cpu"))
        nearest = (exact[:, None] / exact.abs().max() - values[None]).abs().amin(1) * exact.abs().max()
        found = eight_bit.dequantised(codes, scales, signed=signed)
        assert torch.allclose((found - exact).abs(), nearest, atol=1e-6 * float(scales))
        assert found[exact.abs().argmax()].abs() == pytest.approx(float(exact.abs().max()), rel=0.01)


def test_a_block_of_zeros_stays_zero() -> None:
    codes, scales = torch.empty(256, dtype=torch.uint8), torch.empty(1)
    for signed in (True, False):
        eight_bit.quantise(torch.zeros(256), codes, scales, signed=signed)
        assert not eight_bit.dequantised(codes, scales, signed=signed).any()


def test_moments_take_the_bytes_that_are_told() -> None:
    sizes = [4095, 4096, 10_000, 256 * 40]
    weights = [torch.nn.Parameter(torch.ones(size)) for size in sizes]
    optimizer = optimizers.optimizer("adamw_8bit", [{"params": weights, "lr": 0.1, "weight_decay": 0.0}], betas=BETAS)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    held = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    blocks = 16 + 40 + 40
    by_hand = 2 * 4 * 4095 + 2 * (4096 + 10_000 + 10_240) + 2 * 4 * blocks
    assert sum(value.nbytes for value in held) == by_hand == eight_bit.moment_bytes(sizes)


def taught(kind: str, dtype: torch.dtype, *, steps: int = 150) -> list[float]:
    """Losses of a small network that learns a random one."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(512, 64, generator=draw)
    truth = linear(torch.tanh(linear(inputs, torch.randn(96, 64, generator=draw) / 8)),
                   torch.randn(4, 96, generator=draw) / 10)  # fmt: skip
    weights = [torch.nn.Parameter((torch.randn(shape, generator=draw) / 10).to(dtype)) for shape in ((96, 64), (4, 96))]
    optimizer = optimizers.optimizer(kind, [{"params": weights, "lr": 3e-3, "weight_decay": 0.01}], betas=BETAS)
    losses = []
    for _ in range(steps):
        made = linear(torch.tanh(linear(inputs, weights[0].float())), weights[1].float())
        loss = (made - truth).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.usefixtures("all_in_eight_bits")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_loss_follows_that_of_whole_moments(dtype: torch.dtype) -> None:
    """At every step within 3 % of the way that the loss has come."""
    whole, eight = taught("adamw", dtype), taught("adamw_8bit", dtype)
    assert whole[-1] < 0.2 * whole[0]
    assert max(abs(a - b) for a, b in zip(whole, eight, strict=True)) <= 0.03 * (whole[0] - whole[-1])


def test_tensors_below_4096_numbers_are_stepped_as_adamw_does() -> None:
    stepped = []
    for kind in ("adamw", "adamw_8bit"):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 100))
        optimizer = optimizers.optimizer(kind, [{"params": [weight], "lr": 0.01, "weight_decay": 0.1}], betas=BETAS)
        for number in range(5):
            weight.grad = torch.sin(torch.arange(100.0) + number)
            optimizer.step()
        stepped.append(weight.detach())
    assert torch.allclose(*stepped, atol=1e-6)


def test_the_first_step_loses_nothing() -> None:
    """Moments are put into eight bits after the weights have moved; several chunks and a part of a block."""
    size = optimizers.CHUNK["cpu"] * 2 + 1000
    stepped = []
    for kind in ("adamw", "adamw_8bit"):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, size))
        weight.grad = torch.sin(torch.arange(float(size)))
        optimizers.optimizer(kind, [{"params": [weight], "lr": 0.01, "weight_decay": 0.1}], betas=BETAS).step()
        stepped.append(weight.detach())
    assert torch.allclose(*stepped, atol=1e-7)


def stepper_of(model: Any, method: str) -> Stepper:
    part = catalog.build("methods", method)
    part.attach(model.net, seed=1)
    options = TrainOptions(lr=1e-3, micro_tokens=50, optimizer="adamw_8bit")
    return Stepper(model, part, catalog.build("objectives", "sft"), options)


@pytest.mark.usefixtures("all_in_eight_bits")
@pytest.mark.parametrize(("method", "dtype"), [("full", torch.float32), ("full", torch.bfloat16), ("lora", None)])
def test_resumed_is_bit_for_bit_what_was_never_stopped(
    method: str, dtype: torch.dtype | None, open_tiny: Any, tmp_path: Path
) -> None:
    def opened() -> tuple[Any, Stepper]:
        model = open_tiny("llama")
        model.net.to(dtype or torch.float32)
        return model, stepper_of(model, method)

    def weights(model: Any) -> torch.Tensor:
        return torch.cat([p.detach().flatten().float() for p in model.net.parameters()])

    whole, stepper = opened()
    for number in range(6):
        stepper.take(UNITS[:4], factor=1.0, seed=number)
        if number == 2:
            checkpoints.save(
                tmp_path, method=catalog.build("methods", method), net=whole.net, optimizer=stepper.optimizer,
                state={"step": 3}, about={}, keep=set(),
            )  # fmt: skip
    found = checkpoints.newest(tmp_path, about={}, warn=lambda message: None)
    assert found is not None
    resumed, again = opened()
    catalog.build("methods", method).load(resumed.net, found.model)
    checkpoints.load_optimizer(found, again.optimizer)
    kinds = {value.dtype for state in again.optimizer.state.values() for value in state.values()}
    assert kinds == {torch.uint8, torch.float32}
    for number in range(3, 6):
        again.take(UNITS[:4], factor=1.0, seed=number)
    assert torch.equal(weights(resumed), weights(whole))
