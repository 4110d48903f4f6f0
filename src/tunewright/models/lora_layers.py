"""Linear layers with named low-rank adapters beside them (LoRA, Hu et al. 2021, arXiv 2106.09685, eq. 3).

h = W x + scale * B A x, with B = 0 at the start. Adapters are read and written in PEFT's layout. The layer asks a Route
which adapter acts on which tokens, so that one pass serves several.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from tunewright.core.errors import CannotMerge, DataError, NotThere

PREFIX = "base_model.model."
_REMEDY = "Copy the adapter again, or make it again."


@dataclass
class Route:
    """Which adapter acts on which tokens of the coming forward pass; shared by all layers of a net.

    active: the adapter for all tokens ("" for none). segments: (adapter, count) in token order instead. training: draw
    dropout and noise.
    """

    active: str = ""
    segments: Sequence[tuple[str, int]] | None = None
    training: bool = False


@dataclass(frozen=True)
class LoraShape:
    """What an adapter is made of."""

    rank: int
    alpha: float
    rslora: bool = False
    dropout: float = 0.0
    targets: Sequence[str] = field(default_factory=tuple)  # exact module names

    @property
    def scale(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rsLoRA (Kalajdzievski 2023, arXiv 2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class LoraLinear(nn.Module):
    """A frozen linear layer and the adapters that act on it."""

    def __init__(self, base: nn.Module, route: Route) -> None:
        super().__init__()
        self.base = base
        self.route = route
        self.transposed = isinstance(base, Conv1D)  # GPT-2 keeps weights as (in, out)
        shape = self.weight.shape
        self.out_features, self.in_features = (
            (int(shape[1]), int(shape[0])) if self.transposed else (int(shape[0]), int(shape[1]))
        )
        self.A = nn.ParameterDict()
        self.B = nn.ParameterDict()
        self.scales: dict[str, float] = {}
        self.dropouts: dict[str, float] = {}

    @property
    def weight(self) -> torch.Tensor:
        """The base's weight: some models look at its dtype or device."""
        return self.base.weight  # type: ignore[return-value]

    def add(self, name: str, rank: int, scale: float, dropout: float, generator: torch.Generator | None) -> None:
        """A new adapter: A uniform as PEFT draws it (Kaiming, a = sqrt 5), B zero."""
        bound = 1 / math.sqrt(self.in_features)
        a = torch.empty(rank, self.in_features).uniform_(-bound, bound, generator=generator)
        device = self.weight.device
        self.A[_key(name)] = nn.Parameter(a.to(device))
        self.B[_key(name)] = nn.Parameter(torch.zeros(self.out_features, rank, device=device))
        self.scales[name] = scale
        self.dropouts[name] = dropout

    def matrices(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A (rank, in) and B (out, rank) of one adapter."""
        return self.A[_key(name)], self.B[_key(name)]

    def delta(self, name: str) -> torch.Tensor:
        """scale * B A in float32, shaped like the base's weight."""
        product = self.scales[name] * (self.B[_key(name)].float() @ self.A[_key(name)].float())
        return product.t() if self.transposed else product

    @property
    def one_adapter(self) -> bool:
        """Whether the coming pass sends all tokens through at most one adapter, without dropout."""
        draws = self.route.training and self.dropouts.get(self.route.active, 0.0) > 0
        return self.route.segments is None and not draws

    def acting(self) -> tuple[torch.Tensor | None, torch.Tensor | None, float]:
        """A, B and scale of the active adapter; None without one."""
        name = self.route.active
        if name not in self.scales:
            return None, None, 1.0
        return self.A[_key(name)], self.B[_key(name)], self.scales[name]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., in) -> (..., out)."""
        out = self.base(x)
        if self.route.segments is None:
            return self._added(out, x, self.route.active) if self.route.active in self.scales else out
        flat, flat_out = x.reshape(-1, self.in_features), out.reshape(-1, self.out_features)
        counts = [count for _, count in self.route.segments]
        parts = zip(self.route.segments, flat.split(counts), flat_out.split(counts), strict=True)
        pieces = [self._added(o, i, name) if name in self.scales else o for (name, _), i, o in parts]
        return torch.cat(pieces).view(out.shape)

    def _added(self, out: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        a, b = self.A[_key(name)], self.B[_key(name)]
        if self.route.training and self.dropouts[name]:
            x = nn.functional.dropout(x, self.dropouts[name])
        flat = x.reshape(-1, self.in_features).to(a.dtype)
        low = flat @ a.t()
        if out.dtype == a.dtype:
            return torch.addmm(out.reshape(-1, self.out_features), low, b.t(), alpha=self.scales[name]).view(out.shape)
        return out + (self.scales[name] * (low @ b.t())).to(out.dtype).view(out.shape)


def route_of(net: nn.Module) -> Route:
    """The route shared by all adapter layers of a net; made at the first call."""
    held = net.__dict__.get("_tunewright_route")
    if held is None:
        held = net.__dict__["_tunewright_route"] = Route()
    return held


def linear_names(net: nn.Module) -> list[str]:
    """Every linear layer of the backbone by name; the vocabulary head is not one of them."""
    head = net.get_output_embeddings()  # type: ignore[operator]
    found = []
    for name, module in net.named_modules():
        if isinstance(module, LoraLinear) or (
            isinstance(module, (nn.Linear, Conv1D)) and module is not head and not _inside_lora(net, name)
        ):
            found.append(name)
    return found


def matching(net: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """Linear layers chosen by 'all', by a regular expression over the whole name, or by name endings.

    Raises DataError naming what there is, when nothing matches.
    """
    names = linear_names(net)
    if targets in ("all", "all-linear"):
        return names
    if isinstance(targets, str):
        found = [name for name in names if re.fullmatch(targets, name)]
    else:
        found = [name for name in names if any(name == t or name.endswith(f".{t}") for t in targets)]
    if not found:
        endings = sorted({name.rpartition(".")[2] for name in names})
        raise DataError(f"No linear layer matches {targets!r}. This model has layers ending in: {', '.join(endings)}.")
    return found


def add_adapter(net: nn.Module, name: str, shape: LoraShape, *, seed: int = 0) -> None:
    """Put a new adapter beside the named linear layers; drawn in the order of the names from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for target in shape.targets:
        _wrapped(net, target).add(name, shape.rank, shape.scale, shape.dropout, generator)


def layers(net: nn.Module, name: str | None = None) -> Iterator[tuple[str, LoraLinear]]:
    """The wrapped layers that hold an adapter (any adapter when no name is given)."""
    for path, module in net.named_modules():
        if isinstance(module, LoraLinear) and (name is None or name in module.scales):
            yield path, module


def merge_adapter(net: nn.Module, name: str) -> None:
    """Fold an adapter into the base's weights and take all wrappers away, in place. The sum is made in float32."""
    for path, layer in list(layers(net)):
        if name in layer.scales:
            weight = layer.weight
            if not weight.is_floating_point():
                raise CannotMerge(f"Layer {path} is quantised: merge into the unquantised base instead.")
            with torch.no_grad():
                weight.data = (weight.float() + layer.delta(name)).to(weight.dtype)  # others may hold the old one
        _put(net, path, layer.base)


def drop_adapter(net: nn.Module, name: str) -> None:
    """Take one adapter away; layers without any adapter become plain again."""
    for path, layer in list(layers(net, name)):
        del layer.A[_key(name)], layer.B[_key(name)], layer.scales[name], layer.dropouts[name]
        if not layer.scales:
            _put(net, path, layer.base)


def save_adapter(net: nn.Module, name: str, folder: Path, shape: LoraShape, *, base: str) -> None:
    """Write adapter_model.safetensors and adapter_config.json in PEFT's layout. `base`: what it stands beside."""
    tensors = {}
    for path, layer in layers(net, name):
        tensors[f"{PREFIX}{path}.lora_A.weight"] = layer.A[_key(name)].detach().cpu().contiguous()
        tensors[f"{PREFIX}{path}.lora_B.weight"] = layer.B[_key(name)].detach().cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if net.get_output_embeddings() is not None else "FEATURE_EXTRACTION",  # type: ignore[operator]
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": shape.dropout,
        "use_rslora": shape.rslora,
        "target_modules": sorted(path for path, _ in layers(net, name)),
        "fan_in_fan_out": any(layer.transposed for _, layer in layers(net, name)),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_shape(folder: Path) -> dict[str, Any]:
    """An adapter's adapter_config.json. Raises NotThere or DataError for what this version does not read."""
    path = folder / "adapter_config.json"
    if not path.exists():
        raise NotThere(f"{folder} holds no adapter: adapter_config.json is missing.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{path} is broken: {error}. {_REMEDY}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path} is broken: it holds no settings by name. {_REMEDY}")
    if config.get("peft_type") != "LORA":
        raise DataError(f"{folder} holds a {config.get('peft_type')} adapter; only LORA adapters can be read.")
    for option in (
        "use_dora",
        "modules_to_save",
        "trainable_token_indices",
        "lora_bias",
        "layer_replication",
        "alora_invocation_tokens",
    ):
        if config.get(option):
            raise DataError(
                f"The adapter in {folder} uses {option}={config[option]!r}, which this version cannot read."
            )
    if not isinstance(config.get("lora_alpha"), (int, float)):
        raise DataError(f"{path} is broken: lora_alpha must be a number, found {config.get('lora_alpha')!r}. {_REMEDY}")
    if not (folder / "adapter_model.safetensors").exists():
        raise NotThere(f"{folder} has no adapter_model.safetensors (other formats are not read, for safety).")
    return config


def load_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put a saved adapter (ours or PEFT's) beside a net's layers, in float32. Every key must find its place."""
    config = read_shape(folder)
    file = folder / "adapter_model.safetensors"
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise DataError(f"{file} is broken: {error}. {_REMEDY}") from None
    modules = {
        key.removeprefix(PREFIX).removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")
    }
    expected = {f"{PREFIX}{path}.lora_{side}.weight" for path in modules for side in "AB"}
    if strange := sorted(set(tensors) ^ expected):
        raise DataError(
            f"The adapter in {folder} has keys that fit no layer: {', '.join(strange[:3])} ({len(strange)} in all)."
        )
    known = set(linear_names(net))
    if missing := sorted(modules - known):
        raise DataError(
            f"The adapter in {folder} is for another model: it has no layer {missing[0]} ({len(missing)} missing)."
        )
    for path in sorted(modules):
        a, b = (tensors[f"{PREFIX}{path}.lora_{side}.weight"].float() for side in "AB")
        if not (a.isfinite().all() and b.isfinite().all()):
            raise DataError(f"The adapter in {folder} is broken: layer {path} holds values that are not finite.")
        layer = _wrapped(net, path)
        if a.shape[1] != layer.in_features or b.shape[0] != layer.out_features or a.shape[0] != b.shape[1]:
            raise DataError(f"The adapter in {folder} does not fit layer {path}: {tuple(b.shape)} x {tuple(a.shape)}.")
        rank = a.shape[0]
        alpha = _pattern(config.get("alpha_pattern") or {}, path, config["lora_alpha"])
        scale = LoraShape(rank, alpha, bool(config.get("use_rslora"))).scale
        layer.add(name, rank, scale, float(config.get("lora_dropout") or 0.0), None)
        with torch.no_grad():
            layer.A[_key(name)].copy_(a)
            layer.B[_key(name)].copy_(b)


def fill_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put saved tensors into an adapter that is there already (resume). Raises DataError when keys or shapes differ."""
    tensors = load_file(folder / "adapter_model.safetensors")
    own = {}
    for path, layer in layers(net, name):
        own[f"{PREFIX}{path}.lora_A.weight"] = layer.A[_key(name)]
        own[f"{PREFIX}{path}.lora_B.weight"] = layer.B[_key(name)]
    if set(own) != set(tensors) or any(own[key].shape != tensors[key].shape for key in own):
        raise DataError(f"The adapter in {folder} does not fit this recipe's method: its layers or its rank differ.")
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


def _pattern(patterns: dict[str, float], path: str, default: float) -> float:
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", path):
            return value
    return default


def _wrapped(net: nn.Module, path: str) -> LoraLinear:
    module = net.get_submodule(path)
    if not isinstance(module, LoraLinear):
        module = LoraLinear(module, route_of(net))
        _put(net, path, module)
    return module


def _put(net: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, child = path.rpartition(".")
    setattr(net.get_submodule(parent), child, module)


def _inside_lora(net: nn.Module, name: str) -> bool:
    parent = name.rpartition(".")[0]
    return bool(parent) and isinstance(net.get_submodule(parent), LoraLinear)


def _key(name: str) -> str:
    return name.replace(".", "__dot__")  # module names may not hold dots
