"""LoRA adapters on disk, in PEFT's layout (DoRA among them)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tunewright.core.errors import DataError
from tunewright.models import adapter_files, beside, lora_layers
from tunewright.models.adapter_files import CONFIG, PREFIX, REMEDY
from tunewright.models.lora_layers import LoraLinear, LoraShape

UNREAD = ("modules_to_save", "lora_bias", "layer_replication", "alora_invocation_tokens")


def save_adapter(net: nn.Module, name: str, folder: Path, shape: LoraShape, *, base: str) -> None:
    """Write an adapter in PEFT's layout. `base`: what it stands beside.

    One with a start of its own is written as the plain LoRA of twice the rank that it is on the untouched base.
    """
    own = dict(lora_layers.layers(net, name))
    more = 1 if shape.start == "default" else 2
    louder = math.sqrt(more) if shape.rslora else more  # alpha that keeps the scale at this many times the rank
    config = {
        "peft_type": "LORA",
        "task_type": task_type(net),
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": shape.rank * more,
        "lora_alpha": shape.alpha * louder,
        "lora_dropout": shape.dropout,
        "use_rslora": shape.rslora,
        "use_dora": shape.dora,
        "rank_pattern": {pattern: rank * more for pattern, rank in shape.ranks.items()},
        "alpha_pattern": {pattern: alpha * louder for pattern, alpha in shape.alphas.items()},
        "target_modules": sorted(own),
        "fan_in_fan_out": any(layer.transposed for layer in own.values()),
        "bias": "none",
    }
    tensors = {key: tensor for path, layer in own.items() for key, tensor in _tensors(path, layer, name).items()}
    adapter_files.write(folder, config, tensors)


def read_shape(folder: Path) -> dict[str, Any]:
    """An adapter's adapter_config.json. Raises NotThere or DataError for what this version does not read."""
    config = adapter_files.read_config(folder)
    for option in UNREAD:
        if config.get(option):
            raise DataError(
                f"The adapter in {folder} uses {option}={config[option]!r}, which this version cannot read."
            )
    if not isinstance(config.get("lora_alpha"), (int, float)):
        found = config.get("lora_alpha")
        raise DataError(f"{folder / CONFIG} is broken: lora_alpha must be a number, found {found!r}. {REMEDY}")
    return config


@dataclass(frozen=True)
class Matrices:
    """What an adapter adds to one layer: scale * B A, in float32."""

    a: torch.Tensor  # (rank, in)
    b: torch.Tensor  # (out, rank)
    scale: float


def read_adapter(folder: Path) -> dict[str, Matrices]:
    """A saved plain LoRA's matrices (ours or PEFT's) by layer, without a net. Raises NotThere or DataError."""
    config = read_shape(folder)
    tensors = adapter_files.read_tensors(folder)
    endings = (".lora_A.weight", ".lora_B.weight")
    found = {}
    for path in adapter_files.paths_of(tensors, folder, endings=endings):
        a, b = (tensors[f"{PREFIX}{path}{ending}"] for ending in endings)
        found[path] = Matrices(a, b, _shape(config, path, len(a)).scale)
    return found


def load_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put a saved adapter (ours or PEFT's) beside a net's layers, in float32. Every key must find its place."""
    config = read_shape(folder)
    tensors = adapter_files.read_tensors(folder)
    dora = bool(config.get("use_dora"))
    endings = (".lora_A.weight", ".lora_B.weight", *([".lora_magnitude_vector"] if dora else []))
    paths = adapter_files.paths_of(tensors, folder, endings=endings)
    adapter_files.refuse_missing(paths, set(lora_layers.linear_names(net)), folder)
    for path in paths:
        a, b, *lengths = (tensors[f"{PREFIX}{path}{ending}"] for ending in endings)
        layer = beside.stand_in(net, path, LoraLinear)
        fits = (a.shape[1], b.shape[0], a.shape[0]) == (layer.in_features, layer.out_features, b.shape[1])
        if not fits or any(length.shape != (layer.out_features,) for length in lengths):
            raise DataError(f"The adapter in {folder} does not fit layer {path}: {tuple(b.shape)} x {tuple(a.shape)}.")
        layer.add(name, _shape(config, path, len(a)), values=(a, b))
        if lengths:
            layer.put(name, a, b, lengths[0])


def _shape(config: dict[str, Any], path: str, rank: int) -> LoraShape:
    """What the settings say of one layer's adapter."""
    alpha = lora_layers.first_match(config.get("alpha_pattern") or {}, path, config["lora_alpha"])
    dropout, dora = float(config.get("lora_dropout") or 0.0), bool(config.get("use_dora"))
    return LoraShape(rank, alpha, bool(config.get("use_rslora")), dropout, dora=dora)


def fill_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put saved tensors into an adapter that is there already (resume). Raises DataError when keys or shapes differ."""
    tensors = adapter_files.read_tensors(folder)
    own = dict(lora_layers.layers(net, name))
    parts = {path: _tensors(path, layer, name) for path, layer in own.items()}
    adapter_files.refuse_other({key: t for part in parts.values() for key, t in part.items()}, tensors, folder)
    for path, layer in own.items():
        a, b, *lengths = (tensors[key] for key in parts[path])
        layer.put(name, a, b, lengths[0] if lengths else None)


def _tensors(path: str, layer: LoraLinear, name: str) -> dict[str, torch.Tensor]:
    a, b = layer.matrices(name)
    found = {f"{PREFIX}{path}.lora_A.weight": a, f"{PREFIX}{path}.lora_B.weight": b}
    if name in layer.dora:
        found[f"{PREFIX}{path}.lora_magnitude_vector"] = layer.M[beside.key(name)]
    return found


def task_type(net: Any) -> str:
    """What PEFT calls the work of a net of this kind."""
    if net.get_output_embeddings() is None:
        return "FEATURE_EXTRACTION"
    return "SEQ_2_SEQ_LM" if net.config.is_encoder_decoder else "CAUSAL_LM"
