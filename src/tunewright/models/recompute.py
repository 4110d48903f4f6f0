"""Layers that keep only their input for the backward pass and compute everything else again there (Chen et al. 2016,
arXiv 1604.06174).

The same operations on the same numbers run twice, so losses and gradients are bit for bit those of keeping everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tunewright.models.lora_layers import Route
from tunewright.models.own_weights import decoder_layers
from tunewright.models.upper import frozen_layers, standing_in


@contextmanager
def recomputed(net: nn.Module, route: Route, count: int) -> Iterator[None]:
    """While this holds, the lowest `count` layers that gradients flow through keep only their input.

    From the bottom, because by the time they are computed again the layers above have let go of what they kept.
    Nothing changes without autograd. Works on whatever stands in for a layer when it is entered.
    """
    if not count or not torch.is_grad_enabled():
        yield
        return
    lowest = frozen_layers(net)
    layers = list(decoder_layers(net)[1])[lowest : lowest + count]
    with standing_in(layers, lambda forward: partial(_kept_small, forward, route)):
        yield


def _kept_small(forward: Callable[..., Any], route: Route, *given: Any, **options: Any) -> Any:
    then = replace(route)  # by the time of the backward pass the route may lead elsewhere

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _led(route, then)

    # the random state is kept too: dropout drops the same numbers again
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=True, context_fn=contexts, **options)


@contextmanager
def _led(route: Route, then: Route) -> Iterator[None]:
    """The route as it was."""
    now = replace(route)
    vars(route).update(vars(then))
    try:
        yield
    finally:
        vars(route).update(vars(now))
