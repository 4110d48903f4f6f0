"""Contenders for the loss of a vocabulary head and its gradients: ours, torch's own fused function, whole logits."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from turns import Turns
from workload import SHAPES

TOKENS = 2000  # learned ones in a step
SPREAD = 0.02


def given(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Hidden states, the head's weights and the targets; in full tuning the head trains too."""
    import torch

    shape = SHAPES[options.shape]
    draw = torch.Generator().manual_seed(16)
    hidden = torch.randn(TOKENS, shape.hidden, generator=draw).requires_grad_(True)
    weight = (torch.randn(shape.vocabulary, shape.hidden, generator=draw) * SPREAD).requires_grad_(
        options.method == "full"
    )
    return hidden, weight, torch.randint(shape.vocabulary, (TOKENS,), generator=draw)


def repeated(options: argparse.Namespace, turns: Turns, loss_of: Callable[[Any, Any, Any], Any]) -> None:
    """Loss and gradients, a unit each."""
    hidden, weight, target = given(options)
    for _ in range(options.units):
        with turns.unit() as done:
            loss = loss_of(hidden, weight, target)
            loss.backward()
            done["tokens"] = TOKENS
        turns.check["loss"] = [float(loss.detach())]
        turns.check["gradient"] = [float(hidden.grad.norm())]
        hidden.grad = weight.grad = None


def ours(options: argparse.Namespace, turns: Turns) -> None:
    """The gradient made in the forward pass, in chunks."""
    import torch

    from tunewright.models.head import WeightedNLL

    weights = torch.ones(TOKENS)
    repeated(options, turns, lambda h, w, t: WeightedNLL.apply(h, w, None, None, 0, t, weights, 0.0))


def fused(options: argparse.Namespace, turns: Turns) -> None:
    """`torch.nn.functional.linear_cross_entropy` with its chunked path."""
    from torch.nn.functional import linear_cross_entropy
    from torch.nn.modules.loss import LinearCrossEntropyOptions

    chunked = LinearCrossEntropyOptions()
    repeated(options, turns, lambda h, w, t: linear_cross_entropy(h, w, t, reduction="sum", options=chunked))


def whole(options: argparse.Namespace, turns: Turns) -> None:
    """Whole logits through `linear` and `cross_entropy`."""
    from torch.nn.functional import cross_entropy, linear

    repeated(options, turns, lambda h, w, t: cross_entropy(linear(h, w), t, reduction="sum"))
