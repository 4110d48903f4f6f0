"""The optimizers that a recipe may name: AdamW, and AdamW whose moments take one byte a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from tunewright.models import eight_bit
from tunewright.models.eight_bit import BLOCK, dequantised, quantise

EPS = 1e-8
CHUNK = {"cpu": 2**16, "cuda": 2**24}  # numbers worked on at once; on a CPU they stay in its cache


def optimizer(kind: str, groups: list[dict[str, Any]], *, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """The optimizer of a recipe's `train.optimizer`."""
    if kind == "adamw_8bit":
        return AdamW8bit(groups, betas=betas)
    assert kind == "adamw", kind
    return torch.optim.AdamW(groups, betas=betas, eps=EPS, fused=True)


class AdamW8bit(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) whose moments are kept in eight bits between steps.

    Each step takes a chunk's moments out of their eight bits, updates them and the weights in float32, and puts them
    back (Dettmers et al. 2022, arXiv 2110.02861). Small tensors keep float32 moments.
    """

    def __init__(self, groups: list[dict[str, Any]], *, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= _empty(parameter)
        state["step"] += 1
        weights, gradient = parameter.view(-1), parameter.grad.reshape(-1)  # type: ignore[union-attr]
        if "mean_scale" not in state:
            _adamw(weights, gradient.float(), state["mean"], state["square"], group, step=int(state["step"]))
            return
        for at, blocks in _chunks(parameter):
            mean = dequantised(state["mean"][at], state["mean_scale"][blocks], signed=True)
            square = dequantised(state["square"][at], state["square_scale"][blocks], signed=False)
            _adamw(weights[at], gradient[at].float(), mean, square, group, step=int(state["step"]))
            quantise(mean, state["mean"][at], state["mean_scale"][blocks], signed=True)
            quantise(square, state["square"][at], state["square_scale"][blocks], signed=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put a state back bit for bit: codes stay bytes and scales float32, whatever the weights are."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        self.state.clear()
        for number, held in state_dict["state"].items():
            owner = parameters[number]
            self.state[owner] = {
                name: value.clone() if name == "step" else value.to(owner.device, copy=True)
                for name, value in held.items()
            }


def _empty(parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    size, device = parameter.numel(), parameter.device
    step = torch.zeros(())
    if size < eight_bit.SMALLEST:
        zeros = {name: torch.zeros(size, device=device) for name in ("mean", "square")}
        return {"step": step, **zeros}
    state = {"step": step}
    for name, signed in (("mean", True), ("square", False)):
        zero = int((eight_bit.dynamic_map(signed=signed, device=torch.device("cpu")) == 0).nonzero())
        state[name] = torch.full((size,), zero, dtype=torch.uint8, device=device)
        state[f"{name}_scale"] = torch.zeros(eight_bit.num_blocks(size), device=device)
    return state


def _chunks(parameter: torch.Tensor) -> Iterator[tuple[slice, slice]]:
    """Numbers and their blocks, chunk by chunk; a part of a block comes alone, at the end."""
    size, most = parameter.numel(), CHUNK["cuda" if parameter.device.type == "cuda" else "cpu"]
    whole = size - size % BLOCK
    for start in range(0, whole, most):
        stop = min(start + most, whole)
        yield slice(start, stop), slice(start // BLOCK, stop // BLOCK)
    if whole < size:
        yield slice(whole, size), slice(whole // BLOCK, whole // BLOCK + 1)


def _adamw(
    weights: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    group: dict[str, Any],
    *,
    step: int,
) -> None:
    """One AdamW step in place; all but the weights are float32."""
    (beta1, beta2), lr = group["betas"], group["lr"]
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    divisor = square.sqrt().div_((1 - beta2**step) ** 0.5).add_(EPS)
    exact = weights.float()
    exact.mul_(1 - lr * group["weight_decay"]).addcdiv_(mean, divisor, value=-lr / (1 - beta1**step))
    if exact.data_ptr() != weights.data_ptr():
        weights.copy_(exact)
