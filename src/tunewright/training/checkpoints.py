"""Checkpoints: whole or not at all. safetensors and JSON only; the newest whose manifest verifies is the one to go
on from.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunewright.core import storage
from tunewright.core.errors import RunError
from tunewright.core.parts import Method
from tunewright.models import heads, new_rows, tensor_files


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint folder and its state."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state["step"])

    @property
    def model(self) -> Path:
        """What Method.save wrote."""
        return self.folder / "model"


def save(
    home: Path,
    *,
    method: Method,
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    about: dict[str, Any],
    keep: set[int],
) -> Path:
    """Write step-NNNNNN; afterwards predecessors go, except those in `keep`. Raises CheckpointError when the disk is
    full.

    A whole checkpoint of this step stays as it is: replacing it could lose both to a crash, and would bring nothing
    new.
    """
    target = home / f"step-{state['step']:06d}"
    if target.exists() and storage.damage(target) is None:
        return target
    with storage.new_folder(target, about=about) as folder:
        method.save(net, folder / "model")
        new_rows.save(net, folder / "model")
        heads.save_head(net, folder / "model")
        tensors, plain = _optimizer_state(optimizer)
        tensor_files.save(tensors, folder / "optimizer.safetensors")
        storage.write_json(folder / "state.json", {**state, "optimizer": plain}, point="save.state")
    if storage.damage(target) is None:
        for folder in _folders(home):
            number = _number(folder)
            if number < state["step"] and number not in keep:
                storage.failpoint("save.purge")
                shutil.rmtree(folder, ignore_errors=True)
    return target


def newest(home: Path, *, about: dict[str, Any], warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint. A damaged one is passed over with a warning that names the file.

    Raises RunError when the checkpoint was made with another recipe or other data.
    """
    storage.purge_stale(home, "step-*")
    for folder in reversed(_folders(home)):
        if wrong := storage.damage(folder):
            warn(f"Checkpoint {folder.name} is damaged ({wrong}); an earlier one is used.")
            continue
        manifest = storage.read_json(folder / "manifest.json")
        for key, value in about.items():
            if manifest.get(key) != value:
                raise RunError(
                    f"Checkpoint {folder.name} was made with another {key.replace('_', ' ')} than this run has now. "
                    "Put it back, or start over with --fresh (the old run is kept under another name)."
                )
        return Checkpoint(folder, storage.read_json(folder / "state.json"))
    return None


def load_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimizer's state back, bit for bit."""
    tensors = tensor_files.load(checkpoint.folder / "optimizer.safetensors")
    held = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": held["param_groups"]})


def _optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    held = optimizer.state_dict()
    tensors = {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, values in held["state"].items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }
    return tensors, {"parameters": len(held["state"])}


def _folders(home: Path) -> list[Path]:
    found = [folder for folder in home.glob("step-*") if re.fullmatch(r"step-\d+", folder.name)]
    return sorted(found, key=_number)


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
