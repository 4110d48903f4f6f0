"""What adapters on disk have in common: a folder with adapter_config.json and adapter_model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from tunewright.core.errors import DataError, NotThere
from tunewright.models import tensor_files

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # before every name, in PEFT's layout
NEW_ROWS = ".token_adapter.trainable_tokens_delta"  # ends PEFT's names of what models/new_rows.py reads
REMEDY = "Copy the adapter again, or make it again."


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    tensor_files.save(plain, folder / TENSORS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """The settings. Raises NotThere or DataError."""
    path = folder / CONFIG
    if not path.exists():
        raise NotThere(f"{folder} holds no adapter: {CONFIG} is missing.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{path} is broken: {error}. {REMEDY}") from None
    if not isinstance(config, dict):
        raise DataError(f"{path} is broken: it holds no settings by name. {REMEDY}")
    return config


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, in float32, without rows of new tokens. Raises NotThere, or DataError where a file is broken
    or a value not finite.
    """
    file = folder / TENSORS
    if not file.exists():
        raise NotThere(f"{folder} has no {TENSORS} (other formats are not read, for safety).")
    tensors = tensor_files.load(file) if tensor_files.is_read(file) else _checked(file)
    return {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(NEW_ROWS)}


def read_ahead(folder: Path) -> tensor_files.Files:
    """All tensors of an adapter's folder, for `tensor_files.read_before`: what takes long, apart from putting them
    beside a net. Raises as `read_tensors`.
    """
    return {file: _checked(file) for file in folder.glob("*.safetensors")}


def _checked(file: Path) -> dict[str, torch.Tensor]:
    """A file's tensors. Raises DataError where it is broken or a value not finite."""
    try:
        tensors = tensor_files.load(file)
    except SafetensorError as error:
        raise DataError(f"{file} is broken: {error}. {REMEDY}") from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise DataError(f"The adapter in {file.parent} is broken: {name} holds values that are not finite.")
    return tensors


def paths_of(tensors: Mapping[str, torch.Tensor], folder: Path, *, endings: tuple[str, ...]) -> list[str]:
    """The layers that tensors are for: each must have all of the endings and nothing else. Raises DataError."""
    paths = {name.removesuffix(endings[0]) for name in tensors if name.endswith(endings[0])}
    if strange := sorted(set(tensors) ^ {f"{path}{ending}" for path in paths for ending in endings}):
        raise DataError(
            f"The adapter in {folder} has keys that fit no layer: {', '.join(strange[:3])} ({len(strange)} in all)."
        )
    return sorted(path.removeprefix(PREFIX) for path in paths)


def refuse_missing(paths: list[str], known: set[str], folder: Path) -> None:
    """Raise DataError where a layer is not one of the model's."""
    if missing := sorted(set(paths) - known):
        raise DataError(
            f"The adapter in {folder} is for another model: it has no layer {missing[0]} ({len(missing)} missing)."
        )


def refuse_other(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Raise DataError where saved tensors are not those of an adapter that is there already."""
    if set(own) != set(tensors) or any(own[name].shape != tensors[name].shape for name in own):
        raise DataError(f"The adapter in {folder} does not fit: its layers or its sizes are not those of the method.")
