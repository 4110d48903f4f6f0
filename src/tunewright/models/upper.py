"""The layers from the lowest trained one up, alone: what the frozen layers below make of each row is kept in a file.

Below the lowest trained layer nothing changes while training, so a row's hidden states there are the same in every
epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import torch
from torch import nn

from tunewright.models.forest import Forest
from tunewright.models.own_weights import decoder_layers

Forward = Callable[..., torch.Tensor]
FORMATS = {torch.float32: np.float32, torch.float64: np.float64}  # half formats are kept as bits


def frozen_layers(net: nn.Module) -> int:
    """How many layers, the last apart, lie below everything that trains; 0 when something below the stack does."""
    stack, layers = decoder_layers(net)
    lowest = len(layers) - 1
    met = False
    for name, parameter in net.named_parameters():  # in the order of the forward pass
        inside = name.startswith(f"{stack}.")
        met = met or inside
        if parameter.requires_grad and inside:
            lowest = min(lowest, int(name.removeprefix(f"{stack}.").split(".")[0]))
        elif parameter.requires_grad and not met:
            return 0
    return lowest


class StoredHidden:
    """Hidden states (a token each, D) of known rows as layer `below` receives them, in a file that is mapped, not
    read.

    A row is known by its token ids: nothing else decides what frozen layers make of it, and of the base's own root
    before it.
    """

    def __init__(self, net: nn.Module, below: int, file: BinaryIO) -> None:
        self.layers = list(decoder_layers(net)[1])
        self.below = below
        self.file = file
        self.num_tokens = 0
        self._where: dict[bytes, np.ndarray] = {}
        self._hidden: torch.Tensor | None = None
        self.num_bytes = 0

    def add(self, forest: Forest, hidden_ND: torch.Tensor) -> None:
        """Keep what the lower layers made of a forest's rows."""
        self._where |= {
            _key(row.items): tokens + self.num_tokens for row, tokens in zip(forest.rows, forest.lines, strict=True)
        }
        self.file.write(hidden_ND.cpu().contiguous().view(torch.uint8).numpy().data)
        self.num_tokens += len(hidden_ND)
        self.num_bytes += hidden_ND.nbytes
        self._shape = (hidden_ND.shape[1], hidden_ND.dtype)

    def has(self, items: Sequence[int]) -> bool:
        """Whether this row is kept."""
        return _key(items) in self._where

    def finish(self) -> None:
        """Everything is there: map the file."""
        size, dtype = self._shape
        self.file.flush()
        mapped = np.memmap(self.file, FORMATS.get(dtype, np.int16), "r+", shape=(self.num_tokens, size))
        self._hidden = torch.from_numpy(mapped).view(dtype)

    def of(self, forest: Forest) -> torch.Tensor | None:
        """The hidden states of a forest, ND in its own order; None when one of its rows is not known."""
        if self._hidden is None or any(name for name, _ in forest.adapters):
            return None
        places = np.empty(forest.num_tokens, np.int64)
        for row, tokens in zip(forest.rows, forest.lines, strict=True):
            found = self._where.get(_key(row.items))
            if found is None:
                return None
            places[tokens] = found
        return self._hidden.index_select(0, torch.from_numpy(places)).to(forest.device)

    def close(self) -> None:
        """Let go of the file, which has no name and so is gone."""
        self._hidden = None
        self.file.close()

    @contextmanager
    def above(self, hidden_ND: torch.Tensor) -> Iterator[None]:
        """While this holds, the lower layers compute nothing and the first of the upper ones receives `hidden_ND`."""
        with standing_in(self.layers[: self.below], lambda _: lambda *given, **options: hidden_ND[None]):
            yield

    @contextmanager
    def only_below(self) -> Iterator[list[torch.Tensor]]:
        """While this holds, the upper layers compute nothing; what would have reached them is in the list (1ND)."""
        reached: list[torch.Tensor] = []

        def take(hidden_states: torch.Tensor, *given: object, **options: object) -> torch.Tensor:
            reached.append(hidden_states)
            return hidden_states

        with standing_in(self.layers[self.below :], lambda _: take):
            yield reached


@contextmanager
def standing_in(layers: Sequence[nn.Module], other: Callable[[Forward], Forward]) -> Iterator[None]:
    """These layers do something else for a while; `other` makes it of what each does."""
    before = [layer.__dict__.get("forward") for layer in layers]
    for layer in layers:
        layer.forward = other(layer.forward)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own


def _key(items: Sequence[int]) -> bytes:
    return hashlib.blake2b(np.asarray(items, np.int64).data, digest_size=16).digest()
