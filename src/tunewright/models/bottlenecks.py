"""Bottlenecks: named small modules (down, a nonlinearity, up) behind or beside parts of a base's layers.

out + scale * up(f(down(h))): h is the part's output (Houlsby et al. 2019, arXiv 1902.00751, section 2.1), or its input
where they stand in parallel (He et al. 2022, arXiv 2110.04366, table 1). up = 0 at the start. The layout on disk is our
own: adapter_config.json says `tunewright_type: bottleneck`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tunewright.core.errors import CannotMerge, DataError
from tunewright.models import adapter_files, beside
from tunewright.models.adapter_files import CONFIG, REMEDY
from tunewright.models.beside import Beside, Route, key
from tunewright.models.layer_parts import layer_parts

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}
PLACES = ("houlsby", "pfeiffer", "parallel")
ENDINGS = (".down.weight", ".down.bias", ".up.weight", ".up.bias")


@dataclass(frozen=True)
class BottleneckShape:
    """What an adapter is made of: a word of PLACES, the width in the middle, a word of ACTIVATIONS, its strength."""

    place: str
    size: int
    activation: str = "relu"
    scale: float = 1.0


class Bottleneck(Beside):
    """A part of a layer and the bottlenecks behind or beside it."""

    def __init__(self, base: nn.Module, route: Route) -> None:
        super().__init__(base, route)
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.shapes: dict[str, BottleneckShape] = {}

    def add(self, name: str, shape: BottleneckShape, *, features: int, generator: torch.Generator | None) -> None:
        """A new bottleneck: down uniform as a LoRA's A, up and biases zero."""
        device = next(self.base.parameters()).device
        bound = 1 / math.sqrt(features)
        down, up = (nn.Linear(a, b, device="meta") for a, b in ((features, shape.size), (shape.size, features)))
        for linear in (down, up):
            for part, value in list(linear.named_parameters()):
                setattr(linear, part, nn.Parameter(torch.zeros(value.shape, device=device)))
        down.weight.data = torch.empty(down.weight.shape).uniform_(-bound, bound, generator=generator).to(device)
        self.down[key(name)], self.up[key(name)] = down, up
        self.shapes[name] = shape

    def names(self) -> Collection[str]:
        """The adapters it holds."""
        return self.shapes

    def remove(self, name: str) -> None:
        """Take one of them away."""
        del self.down[key(name)], self.up[key(name)], self.shapes[name]

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Its parameters by the endings of their names on disk."""
        parts = {"down": self.down[key(name)], "up": self.up[key(name)]}
        return {f".{part}.{which}": p for part, held in parts.items() for which, p in held.named_parameters()}

    def after(self, out: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        """The part's output, with what the bottleneck adds to it."""
        shape, down, up = self.shapes[name], self.down[key(name)], self.up[key(name)]
        given = x if shape.place == "parallel" else out
        added = up(ACTIVATIONS[shape.activation](down(given.to(down.weight.dtype))))  # type: ignore[arg-type]
        return out + (shape.scale * added).to(out.dtype)


def add_adapter(net: Any, name: str, shape: BottleneckShape, *, seed: int = 0) -> None:
    """Put a new adapter into every layer; drawn from the bottom up from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    features = net.config.get_text_config().hidden_size
    for path in _paths(net, shape.place):
        beside.stand_in(net, path, Bottleneck).add(name, shape, features=features, generator=generator)


def layers(net: nn.Module, name: str) -> Iterator[tuple[str, Bottleneck]]:
    """The parts that hold an adapter."""
    return beside.holding(net, name, Bottleneck)


def merge_adapter(net: nn.Module, name: str) -> None:
    """Raises CannotMerge."""
    raise CannotMerge(
        "Bottlenecks are small modules with a nonlinearity and cannot be folded into the base's weights. Release the "
        "adapter alone (deploy.formats: [adapter]); a recipe cannot go on from it (model.from)."
    )


def save_adapter(net: nn.Module, name: str, folder: Path, shape: BottleneckShape, *, base: str) -> None:
    """Write an adapter in our own layout."""
    config = {"tunewright_type": "bottleneck", "base_model_name_or_path": base, **asdict(shape)}
    adapter_files.write(folder, config, _tensors(net, name))


def load_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put a saved adapter beside a net's layers."""
    config = adapter_files.read_config(folder)
    try:
        shape = BottleneckShape(**{part: config[part] for part in BottleneckShape.__dataclass_fields__})
        known = shape.place in PLACES and shape.activation in ACTIVATIONS
    except KeyError as error:
        raise DataError(f"{folder / CONFIG} is broken: {error} is missing. {REMEDY}") from None
    if not (known and isinstance(shape.size, int) and isinstance(shape.scale, (int, float))):
        raise DataError(f"{folder / CONFIG} is broken: this is no bottleneck: {shape}. {REMEDY}")
    tensors = adapter_files.read_tensors(folder)
    paths = adapter_files.paths_of(tensors, folder, endings=ENDINGS)
    adapter_files.refuse_missing(paths, set(_paths(net, shape.place)), folder)
    add_adapter(net, name, shape)
    fill_adapter(net, name, folder)


def fill_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put saved tensors into an adapter that is there already (resume). Raises DataError when keys or shapes differ."""
    tensors, own = adapter_files.read_tensors(folder), _tensors(net, name)
    adapter_files.refuse_other(own, tensors, folder)
    with torch.no_grad():
        for path, parameter in own.items():
            parameter.copy_(tensors[path])


def _paths(net: Any, place: str) -> list[str]:
    if place == "parallel":
        return [parts.feed_forward for parts in layer_parts(net)]
    if place == "pfeiffer":
        return [parts.feed_forward_out for parts in layer_parts(net)]
    return [path for parts in layer_parts(net) for path in (parts.attention_out, parts.feed_forward_out)]


def _tensors(net: nn.Module, name: str) -> dict[str, torch.Tensor]:
    return {f"{path}{end}": tensor for path, layer in layers(net, name) for end, tensor in layer.tensors(name).items()}
