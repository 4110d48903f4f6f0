"""Training some of a base's own weights: what is saved is the tensors that changed, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from tunewright.core.errors import DataError, RecipeError
from tunewright.models import beside, roots, tensor_files
from tunewright.models.heads import is_of_head
from tunewright.models.new_rows import is_of_rows

FILE = "weights.safetensors"


def save_trained(net: nn.Module, folder: Path, *, everything: bool = False) -> None:
    """Write every parameter that trains, or all, a head's apart; shared ones once."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: p.detach().cpu().contiguous() for name, p in _own(net, everything=everything).items()}
    tensor_files.save(tensors, folder / FILE, metadata={"format": "pt"})


def load_trained(net: nn.Module, folder: Path) -> None:
    """Put saved parameters back. Raises DataError when names or shapes differ from those that train."""
    tensors = tensor_files.load(folder / FILE)
    own = _own(net)
    wrong = sorted(set(own) ^ set(tensors)) or [name for name in own if own[name].shape != tensors[name].shape]
    if wrong:
        raise DataError(
            f"The weights in {folder} do not fit this recipe's method: {wrong[0]} differs ({len(wrong)} in all)."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


def _own(net: nn.Module, *, everything: bool = False) -> dict[str, nn.Parameter]:
    """The net's parameters that train, or all, without those of heads and rows of new tokens."""
    return {
        name: p
        for name, p in net.named_parameters()
        if (everything or p.requires_grad) and not is_of_head(name) and not is_of_rows(name)
    }


def base_parameters(net: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The base's own parameters under the names they have in the untouched base; shared ones once."""
    seen: set[int] = set()
    for path, module in (("", net), *((place.name, place.module) for place in beside.places(net))):
        if beside.stood_for(module) is not None or is_of_head(path) or is_of_rows(f"{path}."):
            continue
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{path}.{name}".removeprefix("."), parameter


def digests(net: nn.Module, names: set[str] | None = None) -> dict[str, str]:
    """SHA-256 of each frozen parameter (or of those named), under the name it has in the untouched base, and of the
    base's own root.
    """
    plain: dict[str, torch.Tensor] = dict(base_parameters(net))
    if (root := roots.fixed(net)) is not None:
        plain[roots.FIXED] = root.table
    wanted = [name for name, p in plain.items() if (not p.requires_grad if names is None else name in names)]
    return {
        name: hashlib.sha256(
            plain[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name in wanted
    }


def depths(net: nn.Module) -> Iterator[tuple[int, nn.Parameter]]:
    """Every parameter with its depth from the top: 0 for the last layer and what stands above the stack, one more for
    each layer below, and the number of layers for the embeddings. Rows of new tokens have depth 0: answers need them
    from the first step on.
    """
    stack, layers = decoder_layers(net)
    met = False
    for name, parameter in net.named_parameters():  # in the order of the forward pass
        inside = name.startswith(f"{stack}.")
        met = met or inside
        if inside:
            yield len(layers) - 1 - int(name.removeprefix(f"{stack}.").split(".")[0]), parameter
        else:
            yield 0 if met or is_of_rows(name) else len(layers), parameter


def top_layers(net: nn.Module, count: int) -> list[str]:
    """The names of this many layers from the top. Raises RecipeError when the model has fewer."""
    stack, layers = decoder_layers(net)
    if count > len(layers):
        raise RecipeError(f"method.layers: this model has {len(layers)} layers, found {count}. Give a smaller number.")
    return [f"{stack}.{number}" for number in range(len(layers) - count, len(layers))]


def decoder_layers(net: nn.Module) -> tuple[str, nn.ModuleList]:
    """The stack of transformer layers and its name: the longest of the outermost lists of modules, of an
    encoder-decoder the decoder's.
    """
    stacks = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise DataError("This model has no stack of layers to choose from. Use the method 'full' or 'lora'.")
    return max(stacks, key=lambda found: ("decoder" in found[0].split("."), -found[0].count("."), len(found[1])))
