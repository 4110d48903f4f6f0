"""Tensors in safetensors files, which in a private run are encrypted and only ever plain in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors import torch as files

from tunewright.core import private, sealed, storage

Files = Mapping[Path, Mapping[str, torch.Tensor]]

_guard = threading.Lock()
_read: ContextVar[Files | None] = ContextVar("read", default=None)


def save(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write contiguous tensors by name. An encrypted file costs their size in memory once more."""
    known = None if metadata is None else dict(metadata)
    if private.sealer_of(path) is None:
        files.save_file(dict(tensors), path, metadata=known)
        return
    with private.open_write(path) as file:
        file.write(files.save(dict(tensors), metadata=known))


def load(path: Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """The tensors by name. Raises SafetensorError for a broken file, CannotDecrypt and NoKey."""
    known = (_read.get() or {}).get(path)
    if known is not None:
        return {name: tensor.to(device) for name, tensor in known.items()}
    if not sealed.is_sealed(path):
        return files.load_file(path, device=device)
    found = files.load(storage.read_bytes(path))
    return {name: tensor.to(device) for name, tensor in found.items()}


@contextmanager
def read_before(files: Files) -> Iterator[None]:
    """While this holds, in this thread, `load` takes these files' tensors from memory."""
    token = _read.set(files)
    try:
        yield
    finally:
        _read.reset(token)


def is_read(path: Path) -> bool:
    """Whether `load` takes a file's tensors from memory."""
    return path in (_read.get() or {})


def metadata(path: Path) -> dict[str, str]:
    """What a file tells beside its tensors."""
    with private.readable(path.parent) as folder, safe_open(folder / path.name, framework="pt") as file:
        return dict(file.metadata() or {})


def _saved(tensors: dict[str, torch.Tensor], filename: str | PathLike[str], metadata: Any = None) -> None:
    save(tensors, Path(filename), metadata)


@contextmanager
def saved_by_library(folder: Path) -> Iterator[None]:
    """While this holds, what the transformers library saves into a private folder is encrypted by `save`."""
    if not private.is_private(folder):
        yield
        return
    from transformers import modeling_utils

    with _guard:
        own = modeling_utils.safe_save_file
        modeling_utils.safe_save_file = _saved
        try:
            yield
        finally:
            modeling_utils.safe_save_file = own
