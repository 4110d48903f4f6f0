"""Roots of adapters and of bases: what stands before all of their rows (models/forest.py lays them out).

A root is a table of embeddings (prompt tuning, Lester et al. 2021, arXiv 2104.08691) or of keys and values in every
layer (prefix tuning, Li & Liang 2021, arXiv 2101.00190, eq. 3). Roots are held by the net's input embedding under their
adapters' names, and read and written in PEFT's layout. A base may have a root of its own, which an earlier training
learned: it is fixed, hangs on the net and stands before the rows of whatever has no other. Shape letters: T tokens of a
root, D hidden size, L layers, G key/value heads, S head size, N forest tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import nn

from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.recipe import ModelOptions
from tunewright.models import adapter_files, beside, tensor_files
from tunewright.models.attention_plan import ForestPlan
from tunewright.models.bases import ROOT
from tunewright.models.forest import Forest, Row

TABLE = "prompt_embeddings"  # PEFT's name of the table, whatever it holds
NETWORK_FILE = "reparametrisation.safetensors"
FIXED = "tunewright_root"  # where the base's own root hangs on a net


@dataclass(frozen=True)
class KeyShape:
    """What one token leaves in the cache: layers, key/value heads, head size."""

    layers: int
    heads: int
    size: int

    @classmethod
    def of(cls, net: Any) -> KeyShape:
        """As config.json has it."""
        config = net.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(config.num_hidden_layers, heads, size)

    @property
    def width(self) -> int:
        """Keys and values of one token, all layers together."""
        return self.layers * 2 * self.heads * self.size


class PromptRoot(nn.Module):
    """Embeddings (TD)."""

    peft_type: ClassVar[str] = "PROMPT_TUNING"

    def __init__(self, table_TD: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table_TD)

    @property
    def size(self) -> int:
        """How many tokens."""
        return len(self.table)

    def made(self) -> torch.Tensor:
        """The table as it is saved."""
        return self.table


class PrefixRoot(nn.Module):
    """Keys and values of every layer: T x (L, 2, G, S). With `hidden` a network makes them from a smaller table while
    they train (section 4.3): embedding (T x GS), linear, tanh, linear.
    """

    peft_type: ClassVar[str] = "PREFIX_TUNING"

    def __init__(self, size: int, shape: KeyShape, *, hidden: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.size, self.shape = size, shape
        self.transform: nn.Module | None = None
        if hidden is None:
            self.table = nn.Parameter(torch.zeros(size, shape.width))
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inner = shape.heads * shape.size
            self.table = nn.Parameter(torch.randn(size, inner))
            self.transform = nn.Sequential(nn.Linear(inner, hidden), nn.Tanh(), nn.Linear(hidden, shape.width))

    def made(self) -> torch.Tensor:
        """All keys and values, T x width."""
        out: torch.Tensor = self.table if self.transform is None else self.transform(self.table)
        return out

    def keys_values(self) -> torch.Tensor:
        """L2GTS."""
        shape = self.shape
        return self.made().view(self.size, shape.layers, 2, shape.heads, shape.size).permute(1, 2, 3, 0, 4)


Root = PromptRoot | PrefixRoot


class FixedRoot(nn.Module):
    """The base's own root. Its table is a buffer, which no method trains and no weight file holds."""

    def __init__(self, root: Root) -> None:
        super().__init__()
        made = root.made().detach().clone()
        self.root: Root = PromptRoot(made) if isinstance(root, PromptRoot) else PrefixRoot(root.size, root.shape)
        del self.root.table
        self.root.register_buffer("table", made, persistent=False)
        self.left_out: set[str] = set()  # names whose rows stand without it


class Prefixes:
    """The trained keys and values of one forest's prefix roots, where the attention function puts them."""

    def __init__(self, places: Iterable[tuple[PrefixRoot, int]], device: torch.device) -> None:
        """places: each root and the forest position of its first token."""
        known: dict[PrefixRoot, torch.Tensor] = {}
        parts, index = [], []
        for root, start in places:
            if root not in known:
                known[root] = root.keys_values()
            parts.append(known[root])
            index.append(torch.arange(start, start + root.size))
        self.keys_values = torch.cat(parts, 3)  # L2GNS, of the roots' positions alone
        self.index = torch.cat(index).to(device)

    def put(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (1GNS) with those of the roots in their places."""
        trained = self.keys_values[layer].to(key.dtype)
        return key.index_copy(2, self.index, trained[0][None]), value.index_copy(2, self.index, trained[1][None])


# --- the roots of a net ---


def held(net: nn.Module) -> Mapping[str, Root]:
    """The roots of a net by key (see `find`)."""
    found: Any = net.get_input_embeddings()._modules.get("roots")  # type: ignore[operator, union-attr]
    return {} if found is None else dict(found.items())


def find(net: nn.Module, name: str) -> Root | None:
    """The root of an adapter; None where it has none."""
    return held(net).get(_key(name))


def fixed(net: nn.Module) -> Root | None:
    """The base's own root; None where it has none."""
    found = net._modules.get(FIXED)
    return found.root if isinstance(found, FixedRoot) else None


def fix(net: nn.Module, name: str) -> None:
    """Make an adapter's root the base's own. Raises DataError where the base has one already."""
    root = find(net, name)
    assert root is not None
    if fixed(net) is not None:
        raise DataError("This base has a root of its own, and no second one can stand before the same rows.")
    drop(net, name)
    net.add_module(FIXED, FixedRoot(root))


def leave_out(net: nn.Module, name: str) -> None:
    """Let the rows of a name stand without the base's own root."""
    held: Any = net._modules[FIXED]
    held.left_out.add(name)


def _standing(net: nn.Module, name: str) -> Root | None:
    """What stands before the rows of an adapter: its own root, else the base's."""
    root, base = find(net, name), net._modules.get(FIXED)
    return base.root if root is None and isinstance(base, FixedRoot) and name not in base.left_out else root


def sizes(net: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """How many tokens stand before the rows of these adapters; without those that have no root. "" is the active one
    where no other is named, and the base beside named ones.
    """
    if not held(net) and fixed(net) is None:
        return {}
    names = set(names)
    found = {name: _standing(net, _meant(net, name, names)) for name in names}
    return {name: root.size for name, root in found.items() if root is not None}


def laid_out(net: nn.Module, forest: Forest) -> list[tuple[Root, int]]:
    """The roots of a forest, each with the position of its first token."""
    names = {row.adapter for row in forest.rows}
    places = [(_standing(net, _meant(net, adapter, names)), start) for adapter, start, _ in forest.roots]
    return [(root, start) for root, start in places if root is not None]


def _meant(net: nn.Module, name: str, names: set[str]) -> str:
    return name or (beside.route_of(net).active if names == {""} else "")


def add_prompt(net: nn.Module, name: str, tokens: int, *, text: str | None, seed: int) -> None:
    """A root of embeddings, begun as those of a text or of words drawn from the vocabulary."""
    embedding: Any = net.get_input_embeddings()  # type: ignore[operator]
    with torch.no_grad():
        _put(net, name, PromptRoot(embedding(_start_ids(net, tokens, text, seed)).detach().float()))


def add_prefix(net: nn.Module, name: str, tokens: int, *, text: str | None, hidden: int | None, seed: int) -> None:
    """A root of keys and values, begun as those that the net itself makes of a text or of drawn words (section 7.4);
    with `hidden` they come from a network, which begins as it is drawn.
    """
    root = PrefixRoot(tokens, KeyShape.of(net), hidden=hidden, seed=seed)
    if hidden is None and not net.get_input_embeddings().weight.is_meta:  # type: ignore[operator]
        with torch.no_grad():
            root.table.copy_(_activations(net, _start_ids(net, tokens, text, seed), root.shape))
    _put(net, name, root)


def drop(net: nn.Module, name: str) -> None:
    """Take an adapter's root away, if it has one."""
    embedding: Any = net.get_input_embeddings()  # type: ignore[operator]
    if isinstance(base := net._modules.get(FIXED), FixedRoot):
        base.left_out.discard(name)
    if find(net, name) is None:
        return
    del embedding.roots[_key(name)]
    if not len(embedding.roots):
        del embedding.roots


def _put(net: nn.Module, name: str, root: Root) -> None:
    embedding: Any = net.get_input_embeddings()  # type: ignore[operator]
    if not held(net):
        embedding.roots = nn.ModuleDict()
    embedding.roots[_key(name)] = root.to(embedding.weight.device)


def _start_ids(net: Any, tokens: int, text: str | None, seed: int) -> torch.Tensor:
    """T token ids: drawn evenly from the vocabulary, or those of a text, cut, or again from its beginning."""
    weight = net.get_input_embeddings().weight
    if text is None or weight.is_meta:
        drawn = torch.randint(0, len(weight), (tokens,), generator=torch.Generator().manual_seed(seed))
        return drawn.to(weight.device)
    from tunewright.models.opening import open_chat

    tokenizer = open_chat(ModelOptions(base=str(net.config._name_or_path))).tokenizer
    ids = tokenizer.encode(text, add_special_tokens=False)
    if not ids:
        raise RecipeError("method.text: the text has no token. Write some words, or leave it out.")
    return torch.tensor((ids * -(-tokens // len(ids)))[:tokens], device=weight.device)


def _activations(net: Any, ids: torch.Tensor, shape: KeyShape) -> torch.Tensor:
    """Keys and values (T x width) of tokens as a row of their own. Raises DataError where layers differ in shape."""
    forest = Forest.build([Row(ids.tolist(), [0.0] * len(ids), "root")], device=ids.device)
    plan = ForestPlan(forest, dtype=net.dtype, capture=True)
    net.base_model(input_ids=ids[None], position_ids=forest.positions_N[None], use_cache=False, forest_plan=plan)
    captured = [pair for _, pair in sorted((plan.captured or {}).items())]
    if [key.shape[1::2] for key, _ in captured] != [(shape.heads, shape.size)] * shape.layers:
        raise DataError(
            "This model's layers keep keys of different shapes, so one prefix does not fit them all. "
            "Use the method 'prompt'."
        )
    return torch.stack([torch.stack([key[0], value[0]]) for key, value in captured]).permute(3, 0, 1, 2, 4).flatten(1)


# --- files ---


def save(net: nn.Module, name: str, folder: Path, *, base: str, network: bool = False) -> None:
    """Write a root in PEFT's layout. network: also what makes it, so that training can go on."""
    root = find(net, name)
    assert root is not None
    _write(net, root, folder, base=base)
    if network and _has_network(root):
        tensor_files.save(_own(root), folder / NETWORK_FILE, metadata={"format": "pt"})


def save_fixed(net: nn.Module, folder: Path) -> None:
    """Write the base's own root beside its weights, in PEFT's layout; nothing where it has none."""
    root, config = fixed(net), cast(Any, net.config)
    if root is not None:
        _write(net, root, folder / ROOT, base=str(getattr(config, "_name_or_path", "")))


def load_fixed(net: nn.Module, folder: Path) -> None:
    """Put the root that lies beside a base's weights on its net; nothing where there is none."""
    if (folder / ROOT).exists():
        load_adapter(net, ROOT, folder / ROOT)
        fix(net, ROOT)


def _write(net: nn.Module, root: Root, folder: Path, *, base: str) -> None:
    prefix = isinstance(root, PrefixRoot)
    shape = KeyShape.of(net)
    config = {
        "peft_type": root.peft_type,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "num_virtual_tokens": root.size,
        "num_transformer_submodules": 1,
        "num_layers": shape.layers,
        "num_attention_heads": shape.heads if prefix else net.config.get_text_config().num_attention_heads,  # type: ignore[union-attr, operator]
        "token_dim": shape.heads * shape.size if prefix else root.table.shape[1],
    }
    with torch.no_grad():
        adapter_files.write(folder, config, {TABLE: root.made()})


def fill(net: nn.Module, name: str, folder: Path) -> None:
    """Put saved tensors into a root that is there already. Raises NotThere, or DataError when they do not fit."""
    root = find(net, name)
    assert root is not None
    if _has_network(root):
        if not (folder / NETWORK_FILE).exists():
            raise NotThere(f"{folder} has no {NETWORK_FILE}: what it holds was released, and cannot train on.")
        own, tensors = _own(root), tensor_files.load(folder / NETWORK_FILE)
    else:
        own, tensors = {TABLE: root.table}, adapter_files.read_tensors(folder)
    adapter_files.refuse_other(own, tensors, folder)
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


def load_adapter(net: nn.Module, name: str, folder: Path) -> None:
    """Put a saved root (ours or PEFT's) beside a net, in float32. Raises DataError for one of another model."""
    prefix = adapter_files.read_config(folder)["peft_type"] == PrefixRoot.peft_type
    tensors = adapter_files.read_tensors(folder)
    if set(tensors) != {TABLE}:
        raise DataError(f"The adapter in {folder} holds {', '.join(sorted(tensors))}; a root is one '{TABLE}'.")
    table = tensors[TABLE]
    shape = KeyShape.of(net)
    width = shape.width if prefix else net.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    if table.dim() != 2 or table.shape[1] != width:
        raise DataError(
            f"The adapter in {folder} is for another model: its tokens hold {table.shape[-1]} numbers each, and here "
            f"it would be {width}."
        )
    root: Root = PrefixRoot(len(table), shape) if prefix else PromptRoot(table)
    with torch.no_grad():
        root.table.copy_(table)
    _put(net, name, root)


def _has_network(root: Root) -> bool:
    return isinstance(root, PrefixRoot) and root.transform is not None


def _own(root: Root) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in root.named_parameters()}


def _key(name: str) -> str:
    return f"of_{beside.key(name)}"  # a module's key is no attribute of its holder, such as "keys"
