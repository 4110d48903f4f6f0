"""Rows of new tokens: trained, saved and routed like an adapter, while the base's vocabulary matrices stay frozen.

They hang on the module whose rows they stand in for (the embedding; an untied head), under the name of the adapter they
belong to. Where a method trains a whole matrix there are none: the new tokens' rows are part of it. What a method saves
has them beside it, in PEFT's layout for LoRA. Shape letters: R new tokens, D hidden size, N tokens, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import embedding, linear

from tunewright.core.errors import DataError, RecipeError
from tunewright.models import adapter_files, beside, tensor_files
from tunewright.models.adapter_files import NEW_ROWS
from tunewright.models.new_tokens import IDS, matrices

MODULE = "new_rows"  # under which they hang on a matrix's module
FILE = "new_tokens.safetensors"
INDICES = "trainable_token_indices"  # PEFT's option that names the ids
DEFAULT = "default"


class OfAdapter(NamedTuple):
    """The rows that one adapter has in one matrix."""

    ids: range
    rows_RD: torch.Tensor


class NewRows(nn.Module):
    """The rows (RD) of one matrix's new tokens, by adapter."""

    def __init__(self, route: beside.Route, ids: range) -> None:
        super().__init__()
        self.route, self.ids = route, ids
        self.rows = nn.ParameterDict()

    def of(self, name: str) -> torch.Tensor | None:
        """An adapter's rows."""
        found: torch.Tensor | None = self.rows.get(_key(name), None)
        return found

    def active(self) -> torch.Tensor | None:
        """The rows that act on all tokens."""
        return self.of(self.route.active)

    def _parts(self, count: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Which of `count` tokens in a row are whose."""
        start = 0
        for name, size in self.route.segments or [(self.route.active, count)]:
            rows = self.of(name)
            if rows is not None:
                yield slice(start, start + size), rows
            start += size

    def embedded(self, out: torch.Tensor, ids: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        """What the embedding made of ids, with these rows (times what the module multiplies by) at the new ones."""
        flat, places, found = ids.reshape(-1), [], []
        for at, rows in self._parts(len(flat)):
            number = flat[at] - self.ids.start
            [is_new] = torch.where((number >= 0) & (number < len(self.ids)))
            places.append(is_new + at.start)
            found.append(embedding(number[is_new], rows).to(out.dtype) * scale)
        if not places:
            return out
        return out.reshape(-1, out.shape[-1]).index_copy(0, torch.cat(places), torch.cat(found)).view_as(out)

    def said(self, logits_NV: torch.Tensor, hidden_ND: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
        """Logits with those of the new tokens put in, in place."""
        new = slice(self.ids.start, self.ids.stop)
        for at, rows in self._parts(len(hidden_ND)):
            logits_NV[at, new] = linear(
                hidden_ND[at], rows.to(hidden_ND.dtype), None if bias_V is None else bias_V[new]
            )
        return logits_NV


def attach(net: nn.Module, *, thaws: bool = False) -> None:
    """Put trainable rows beside the frozen vocabulary of a net that has new tokens, after `Method.attach`. Raises
    RecipeError where the method stands in for the embedding itself.

    thaws: as of the method. Rows of their own then learn before the whole matrix does.
    """
    ids: range | None = net.__dict__.get(IDS)
    if ids is None:
        return
    for name, matrix in matrices(net):
        if beside.stood_for(matrix) is not None:
            raise RecipeError(
                f"model.new_tokens: the method puts something of its own in the place of {name}, where new tokens have "
                "their rows. Leave new_tokens out, or take another method."
            )
        if thaws or not matrix.weight.requires_grad:  # type: ignore[union-attr]
            _put(net, matrix, DEFAULT, matrix.weight[ids.start : ids.stop].detach().float().clone())  # type: ignore[index]
            beside.route_of(net).active = DEFAULT


def of_head(net: Any) -> NewRows | None:
    """The rows that speak: those of the head, which a tied one shares with the embedding."""
    found: NewRows | None = net.get_output_embeddings()._modules.get(MODULE)
    return found


def of(matrix: nn.Module, name: str) -> OfAdapter | None:
    """An adapter's rows in a matrix's module; None where it has none there."""
    held: Any = matrix._modules.get(MODULE)
    rows = None if held is None else held.of(name)
    return None if rows is None else OfAdapter(held.ids, rows)


def is_of_rows(parameter: str) -> bool:
    """Whether a parameter's name says that it is rows of new tokens."""
    return f".{MODULE}." in f".{parameter}"


def merge(net: nn.Module, name: str = DEFAULT) -> None:
    """Write rows into the matrices, so that the net is plain."""
    for _, matrix, rows in _held(net, name):
        weight: Any = matrix.weight
        with torch.no_grad():
            merged = weight.detach().clone()  # others may hold the old one
            merged[matrix._modules[MODULE].ids] = rows.to(merged.dtype)  # type: ignore[union-attr, index]
            weight.data = merged
    drop(net, name)


def drop(net: nn.Module, name: str) -> None:
    """Take an adapter's rows away; nothing where it has none."""
    for _, matrix, _ in list(_held(net, name)):
        held: Any = matrix._modules[MODULE]
        del held.rows[_key(name)]
        if not len(held.rows):
            for module in _sharing(net, matrix):
                del module._modules[MODULE]


# --- files ---


def save(net: nn.Module, folder: Path, *, name: str = DEFAULT) -> None:
    """Write rows beside what a method saved: into a LoRA adapter's files as PEFT has them, else into a file of their
    own; nothing for a net without any.
    """
    found = {path: rows for path, _, rows in _held(net, name)}
    if not found:
        return
    ids = list(net.__dict__[IDS])
    tensors = {f"{adapter_files.PREFIX}{path}{NEW_ROWS}": rows for path, rows in found.items()}
    if _is_lora(folder):
        config = adapter_files.read_config(folder) | {INDICES: {path: ids for path in found}}
        adapter_files.write(folder, config, adapter_files.read_tensors(folder) | tensors)
        return
    folder.mkdir(parents=True, exist_ok=True)
    plain = {key: rows.detach().float().cpu().contiguous() for key, rows in tensors.items()}
    tensor_files.save(plain, folder / FILE, metadata={"format": "pt", "ids": json.dumps(ids)})


def load(net: nn.Module, folder: Path, *, name: str = DEFAULT) -> None:
    """Put saved rows on a net, or into those that are there; nothing where neither has any. Raises DataError when they
    are not of the net's new tokens.
    """
    saved, ids = read_ids(folder), list(net.__dict__.get(IDS, ()))
    own = {path: (matrix, rows) for path, matrix, rows in _held(net, name)}
    if not saved and not own:
        return
    if saved != ids:
        raise DataError(
            f"{folder} holds rows of {len(saved)} new tokens ({_span(saved)}), and this model has {len(ids)} "
            f"({_span(ids)}). Give model.new_tokens as they were in that training."
        )
    tensors = _read(folder)
    modules = dict(matrices(net))
    if set(tensors) - set(modules) or (own and set(own) != set(tensors)):
        raise DataError(f"The new tokens' rows in {folder} are of {', '.join(tensors)}: they do not fit this model.")
    for path, rows in tensors.items():
        matrix: Any = modules[path]
        if rows.shape != (len(ids), matrix.weight.shape[1]):
            raise DataError(f"The new tokens' rows in {folder} have another size than {path} of this model.")
        if path in own:
            with torch.no_grad():
                own[path][1].copy_(rows)
        else:
            _put(net, matrix, name, rows.to(matrix.weight.device))


def read_ids(folder: Path) -> list[int]:
    """The ids of the new tokens whose rows a folder holds."""
    if (folder / FILE).exists():
        return [int(token) for token in json.loads(tensor_files.metadata(folder / FILE)["ids"])]
    named = adapter_files.read_config(folder).get(INDICES) if _is_lora(folder) else None
    if isinstance(named, Mapping):
        named = next(iter(named.values()), [])
    return [int(token) for token in named or []]


def _read(folder: Path) -> dict[str, torch.Tensor]:
    file = folder / (FILE if (folder / FILE).exists() else adapter_files.TENSORS)
    found = {key: rows.float() for key, rows in tensor_files.load(file).items() if key.endswith(NEW_ROWS)}
    if not all(rows.isfinite().all() for rows in found.values()):
        raise DataError(f"The new tokens' rows in {folder} hold values that are not finite. {adapter_files.REMEDY}")
    return {key.removeprefix(adapter_files.PREFIX).removesuffix(NEW_ROWS): rows for key, rows in found.items()}


def _is_lora(folder: Path) -> bool:
    return (folder / adapter_files.CONFIG).exists() and adapter_files.read_config(folder).get("peft_type") == "LORA"


def _span(ids: list[int]) -> str:
    return f"ids {ids[0]} to {ids[-1]}" if ids else "none"


# --- on a net ---


def _held(net: nn.Module, name: str) -> Iterator[tuple[str, nn.Module, torch.Tensor]]:
    """The matrices that have rows of an adapter, by name."""
    for path, matrix in matrices(net) if net.__dict__.get(IDS) is not None else ():
        held: Any = matrix._modules.get(MODULE)
        if held is not None and held.of(name) is not None:
            yield path, matrix, held.of(name)


def _put(net: nn.Module, matrix: nn.Module, name: str, rows_RD: torch.Tensor) -> None:
    held: Any = matrix._modules.get(MODULE)
    if held is None:
        held = NewRows(beside.route_of(net), net.__dict__[IDS])
        for module in _sharing(net, matrix):
            module.add_module(MODULE, held)
            if isinstance(module, nn.Embedding) and _look_up not in module._forward_hooks.values():
                module.register_forward_hook(_look_up)
    held.rows[_key(name)] = nn.Parameter(rows_RD)


def _sharing(net: nn.Module, matrix: nn.Module) -> list[nn.Module]:
    """A matrix's module, and those that look up or speak by the same weight: encoder and decoder, a tied head."""
    return [module for module in net.modules() if module._parameters.get("weight") is matrix.weight]


def _look_up(module: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
    held: Any = module._modules.get(MODULE)
    return out if held is None else held.embedded(out, given[0], getattr(module, "embed_scale", 1.0))


def _key(name: str) -> str:
    return f"of_{beside.key(name)}"  # a key is no attribute of its holder, such as "keys"
