"""Saved adapters of any kind, beside a net: what reads and merges a folder follows from the layout found in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn

from tunewright.core.errors import DataError
from tunewright.models import (
    adapter_files,
    beside,
    bottlenecks,
    heads,
    lora_files,
    lora_layers,
    new_rows,
    peft_layers,
    roots,
    scaled_layers,
)


class Kind(NamedTuple):
    """What a layout is read and merged with."""

    load: Callable[[nn.Module, str, Path], None]
    merge: Callable[[nn.Module, str], None]


PEFT = {  # by peft_type; the PEFT library itself reads the others
    "LORA": Kind(lora_files.load_adapter, lora_layers.merge_adapter),
    "IA3": Kind(scaled_layers.load_adapter, scaled_layers.merge_adapter),
    "PROMPT_TUNING": Kind(roots.load_adapter, roots.fix),
    "PREFIX_TUNING": Kind(roots.load_adapter, roots.fix),
}
OURS = {"bottleneck": Kind(bottlenecks.load_adapter, bottlenecks.merge_adapter)}  # by tunewright_type


def load(net: nn.Module, name: str, folder: Path) -> None:
    """Put a saved adapter beside a net under a name, frozen, with its head where it has one. Raises NotThere or
    DataError; then nothing of it stays.
    """
    _load(net, name, folder)
    try:
        heads.load_head(net, folder, name=name)
    except Exception:
        heads.drop_head(net, name)
        drop(net, name)
        raise


def _load(net: nn.Module, name: str, folder: Path) -> None:
    kind = _kind(folder)
    before = {id(parameter) for parameter in net.parameters()}
    try:
        kind.load(net, name, folder)
        new_rows.load(net, folder, name=name)
    except Exception:
        drop(net, name)
        raise
    for parameter in net.parameters():
        if id(parameter) not in before:
            parameter.requires_grad_(False)


def merge_into(net: nn.Module, folder: Path) -> None:
    """Fold a saved adapter into a net's weights, in place; a root becomes the base's own. Raises CannotMerge where it
    cannot be.
    """
    _load(net, "default", folder)
    _kind(folder).merge(net, "default")
    new_rows.merge(net)


def drop(net: nn.Module, name: str) -> None:
    """Take an adapter away; modules without any adapter become plain again."""
    beside.drop(net, name)
    peft_layers.drop(net, name)
    roots.drop(net, name)
    new_rows.drop(net, name)


def base_of(folder: Path) -> str:
    """The base that a saved adapter names; "" when it names none."""
    return str(adapter_files.read_config(folder).get("base_model_name_or_path") or "")


def _kind(folder: Path) -> Kind:
    config = adapter_files.read_config(folder)
    file = folder / adapter_files.CONFIG
    if "tunewright_type" in config:
        named = config["tunewright_type"]
        if named not in OURS:
            raise DataError(f"{file} holds a '{named}' adapter; this version reads {', '.join(OURS)} and PEFT's.")
        return OURS[named]
    if not isinstance(config.get("peft_type"), str):
        raise DataError(f"{file} is broken: it names no peft_type. {adapter_files.REMEDY}")
    return PEFT.get(config["peft_type"], Kind(peft_layers.load_adapter, peft_layers.merge_adapter))
