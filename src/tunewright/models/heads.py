"""Heads: a layer of its own on a net, for objectives whose answer is no token: classes, numbers, tags, rewards, values.

A head hangs on the net under the name of the adapter it belongs to, so that an optimizer finds its parameters, one base
serves several releases, and what a method saves has it in a file beside. `TunableModel.outputs` computes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tunewright.core import private, storage
from tunewright.core.errors import DataError
from tunewright.core.parts import Head
from tunewright.models import tensor_files
from tunewright.models.forest import Forest

MODULES = "tunewright_heads"  # where heads hang on a net
WEIGHTS, CONFIG = "head.safetensors", "head.json"
DEFAULT = "default"  # the head that trains, and that of merged weights
SPREAD = 0.02  # standard deviation of a fresh head, as BERT has it


class HeadLayer(nn.Module):
    """W h + b for hidden states (... D), in float32."""

    def __init__(self, head: Head, hidden: int, *, seed: int) -> None:
        super().__init__()
        self.head = head
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.empty(head.outputs, hidden).normal_(0.0, SPREAD, generator=generator))
        self.bias = nn.Parameter(torch.zeros(head.outputs)) if head.bias else None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(... D) -> (... outputs)."""
        hidden = hidden.to(self.weight.dtype)
        hidden = nn.functional.normalize(hidden, dim=-1) if self.head.unit else hidden
        return nn.functional.linear(hidden, self.weight, self.bias)


def attach_head(net: nn.Module, head: Head | None, *, seed: int = 0, name: str = DEFAULT) -> HeadLayer | None:
    """Put a trainable head on a net, to be called after `Method.attach`; None leaves the net alone.

    A head of the same kind that is there already (the net goes on from an earlier result) is kept with its weights.
    """
    if head is None:
        return None
    held = heads(net).get(name)
    if held is None or held.head != head:
        config: Any = net.config.get_text_config()  # type: ignore[operator,union-attr]
        held = HeadLayer(head, config.hidden_size, seed=seed)
        _put(net, name, held.to(net.device))  # type: ignore[arg-type]
    held.requires_grad_(True)
    return held


def heads(net: nn.Module) -> dict[str, HeadLayer]:
    """The heads of a net by name."""
    modules = net._modules.get(MODULES)
    if modules is None:
        return {}
    return {layer.__dict__["_name"]: layer for layer in modules.children() if isinstance(layer, HeadLayer)}


def head_of(net: nn.Module, name: str = DEFAULT) -> HeadLayer:
    """The head of that name. Raises DataError when there is none."""
    found = heads(net).get(name or DEFAULT)
    if found is None:
        raise DataError(
            f"This model has no head '{name or DEFAULT}' (it has: {', '.join(heads(net)) or 'none'}). "
            "Open the result of a training whose objective has one."
        )
    return found


def row_means(hidden_ND: torch.Tensor, forest: Forest) -> torch.Tensor:
    """The mean hidden state of each row's tokens, R D."""
    row_E = torch.from_numpy(np.repeat(np.arange(len(forest.rows)), [len(t) for t in forest.row_tokens]))
    tokens_E = torch.from_numpy(np.concatenate(forest.row_tokens)).to(hidden_ND.device)
    lengths_R = torch.tensor([len(tokens) for tokens in forest.row_tokens], device=hidden_ND.device)
    sums_RD = hidden_ND.new_zeros(len(forest.rows), hidden_ND.shape[1])
    sums_RD = sums_RD.index_add(0, row_E.to(hidden_ND.device), hidden_ND.index_select(0, tokens_E))
    return sums_RD / lengths_R[:, None]


def save_head(net: nn.Module, folder: Path, *, name: str = DEFAULT) -> None:
    """Write a head beside what a method saved; nothing for a net without one."""
    layer = heads(net).get(name)
    if layer is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().float().cpu().contiguous() for key, value in layer.named_parameters()}
    tensor_files.save(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with private.open_write(folder / CONFIG) as file:
        file.write((json.dumps(asdict(layer.head), indent=2) + "\n").encode("utf-8"))


def load_head(net: nn.Module, folder: Path, *, name: str = DEFAULT) -> None:
    """Put a saved head on a net, or its weights into the one that is there; nothing where the folder holds none.

    Raises DataError when the files are broken, or belong to another head than the net's.
    """
    if not (folder / CONFIG).exists():
        return
    try:
        head = Head(**storage.read_json(folder / CONFIG))
        tensors = tensor_files.load(folder / WEIGHTS)
    except Exception as error:  # of the file system, of JSON, of safetensors: all say that it cannot be read
        raise DataError(
            f"The head in {folder} cannot be read: {error}. Copy the files again, or train again."
        ) from None
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise DataError(f"The head in {folder} is broken: it holds values that are not finite. Train again.")
    held = heads(net).get(name)
    if held is not None and held.head != head:
        raise DataError(f"The head in {folder} is {head}, but this recipe's objective has {held.head}. Train again.")
    layer = held or attach_head(net, head, name=name)
    assert layer is not None
    own = dict(layer.named_parameters())
    if {key: value.shape for key, value in own.items()} != {key: value.shape for key, value in tensors.items()}:
        raise DataError(f"The head in {folder} does not fit this model: its weights have other shapes. Train again.")
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


def drop_head(net: nn.Module, name: str) -> None:
    """Take a head away; nothing where there is none."""
    if name in heads(net):
        del net._modules[MODULES]._modules[_key(name)]  # type: ignore[union-attr]


@contextmanager
def aside(net: nn.Module) -> Iterator[None]:
    """While this holds, the net is as if it had no head: for saving it as the transformers library knows it."""
    held = net._modules.pop(MODULES, None)
    try:
        yield
    finally:
        if held is not None:
            net._modules[MODULES] = held


def is_of_head(parameter: str) -> bool:
    """Whether a parameter's name says that it belongs to a head."""
    return parameter.startswith(f"{MODULES}.")


def _put(net: nn.Module, name: str, layer: HeadLayer) -> None:
    if net._modules.get(MODULES) is None:
        net.add_module(MODULES, nn.ModuleDict())
    layer.__dict__["_name"] = name
    modules: Any = net._modules[MODULES]
    modules[_key(name)] = layer


def _key(name: str) -> str:
    return f"of_{name.replace('.', '__dot__')}"  # module names may not hold dots, or be those of methods
