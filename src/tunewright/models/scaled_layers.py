"""Linear layers with named vectors that scale what they are given or what they give (IA3, Liu et al. 2022, arXiv
2205.05638, section 3.3). Read and written in PEFT's layout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from tunewright.core.errors import DataError
from tunewright.models import adapter_files, beside, lora_layers
from tunewright.models.adapter_files import PREFIX, REMEDY
from tunewright.models.beside import Beside, Route, key

ENDING = ".ia3_l"


class ScaledLinear(Beside):
    """A frozen linear layer and the vectors that scale its inputs or its outputs; they begin at one."""

    def __init__(self, base: nn.Module, route: Route) -> None:
        super().__init__(base, route)
        self.transposed = isinstance(lora_layers.own(base), lora_layers.Conv1D)
        first, second = (int(size) for size in self.weight.shape)
        self.out_features, self.in_features = (second, first) if self.transposed else (first, second)
        self.scales = nn.ParameterDict()
        self.of_inputs: dict[str, bool] = {}

    def add(self, name: str, *, of_inputs: bool) -> None:
        """A new vector of ones."""
        size = self.in_features if of_inputs else self.out_features
        self.scales[key(name)] = nn.Parameter(torch.ones(size, device=self.weight.device))
        self.of_inputs[name] = of_inputs

    def names(self) -> Collection[str]:
        """The adapters it holds."""
        return self.of_inputs

    def remove(self, name: str) -> None:
        """Take one of them away."""
        del self.scales[key(name)], self.of_inputs[name]

    def saved(self, name: str) -> torch.Tensor:
        """The vector in PEFT's shape: a row for inputs, a column for outputs."""
        vector = self.scales[key(name)]
        return vector[None] if self.of_inputs[name] else vector[:, None]

    def before(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """x, scaled where its inputs are."""
        return (x * self.scales[key(name)]).to(x.dtype) if self.of_inputs[name] else x

    def after(self, out: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        """The output, scaled where its outputs are."""
        return out if self.of_inputs[name] else (out * self.scales[key(name)]).to(out.dtype)

    def merge(self, name: str) -> None:
        """Fold a vector into the base's weight and bias."""
        vector, weight, bias = self.scales[key(name)].detach().float(), self.weight, self.base.bias
        along_rows = self.of_inputs[name] != self.transposed
        weight.data = (weight.float() * (vector if along_rows else vector[:, None])).to(weight.dtype)
        if bias is not None and not self.of_inputs[name]:
            bias.data = (bias.float() * vector).to(bias.dtype)  # type: ignore[operator]


def add_adapter(net: nn.Module, name: str, *, outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Put a new adapter beside the named layers."""
    for path in (*outputs, *inputs):
        beside.stand_in(net, path, ScaledLinear).add(name, of_inputs=path in inputs)


def layers(net: nn.Module, name: str) -> Iterator[tuple[str, ScaledLinear]]:
    """The layers that hold an adapter."""
    return beside.holding(net, name, ScaledLinear)


def merge_adapter(net: nn.Module, name: str) -> None:
    """Fold an adapter into the base's weights and take all wrappers away, in place."""
    with torch.no_grad():
        for _, layer in list(layers(net, name)):
            layer.merge(name)
    beside.take_away(net)


def save_adapter(net: nn.Module, name: str, folder: Path, *, base: str) -> None:
    """Write an adapter in PEFT's layout."""
    own = dict(layers(net, name))
    config = {
        "peft_type": "IA3",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "target_modules": sorted(own),
        "feedforward_modules": sorted(path for path, layer in own.items() if layer.of_inputs[name]),
        "fan_in_fan_out": any(layer.transposed for layer in own.values()),
        "init_ia3_weights": True,
    }
    adapter_files.write(folder, config, {f"{PREFIX}{path}{ENDING}": layer.saved(name) for path, layer in own.items()})


def load_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put a saved adapter (ours or PEFT's) beside a net's layers. A vector's shape says what it scales."""
    if adapter_files.read_config(folder).get("modules_to_save"):
        raise DataError(f"The adapter in {folder} uses modules_to_save, which this version cannot read.")
    tensors = adapter_files.read_tensors(folder)
    paths = adapter_files.paths_of(tensors, folder, endings=(ENDING,))
    adapter_files.refuse_missing(paths, set(lora_layers.linear_names(net)), folder)
    for path in paths:
        tensor = tensors[f"{PREFIX}{path}{ENDING}"]
        if tensor.dim() != 2 or 1 not in tensor.shape:
            raise DataError(f"The adapter in {folder} is broken: layer {path} holds no vector. {REMEDY}")
        layer = beside.stand_in(net, path, ScaledLinear)
        layer.add(name, of_inputs=tensor.shape[0] == 1)
        if layer.saved(name).shape != tensor.shape:
            raise DataError(f"The adapter in {folder} does not fit layer {path}: {tuple(tensor.shape)}.")
        with torch.no_grad():
            layer.scales[key(name)].copy_(tensor.flatten())


def fill_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put saved tensors into an adapter that is there already (resume). Raises DataError when keys or shapes differ."""
    tensors, own = adapter_files.read_tensors(folder), dict(layers(net, name))
    saved = {f"{PREFIX}{path}{ENDING}": layer.saved(name) for path, layer in own.items()}
    adapter_files.refuse_other(saved, tensors, folder)
    with torch.no_grad():
        for path, layer in own.items():
            layer.scales[key(name)].copy_(tensors[f"{PREFIX}{path}{ENDING}"].flatten())
