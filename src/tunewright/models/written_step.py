"""One decoding step of Llama-like nets, written out: the same sums as the library's forward pass, in fewer calls.

Shape letters: B live sequences, E hidden size, D head size, T positions, I and O a layer's inputs and outputs, R ranks
of all adapters at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from tunewright.models import new_rows
from tunewright.models.beside import Beside
from tunewright.models.cache import CacheStep
from tunewright.models.forest import segments
from tunewright.models.lora_layers import LoraLinear, own
from tunewright.models.one_row import OneRow, window_of
from tunewright.models.products import FEW_ROWS, product
from tunewright.models.tunable import TunableModel

KNOWN = {"LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model"}
PACKED_BYTES = 2**29  # of weights that are held in oneDNN's layout too
LEAST_PACKED = 2**16  # numbers of a weight that is worth it


@dataclass(frozen=True)
class Stack:
    """The adapters at work in layers that read the same. owners: whose the ranks are, and how many; parts: for each
    layer its columns of the output, its ranks, and the B (scaled) of all adapters under each other.
    """

    a_RI: torch.Tensor
    owners: tuple[tuple[int, int], ...]
    parts: list[tuple[slice, slice, torch.Tensor]]


@dataclass(frozen=True)
class Packed:
    """Weights under each other in oneDNN's layout."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    @staticmethod
    def of(linears: Sequence[Any]) -> Packed:
        """Of linear layers that read the same."""
        weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.bias for linear in linears]
        zeros = [torch.zeros(len(linear.weight)) for linear in linears]
        some = any(bias is not None for bias in biases)
        bias = torch.cat([z if b is None else b.detach() for b, z in zip(biases, zeros, strict=True)]) if some else None
        return Packed(torch.ops.mkldnn._reorder_linear_weight(weight, 16), bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x W^T + b."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


class AdapterRows:
    """The adapters of a step, one a row, as two products a layer whatever their number.

    The A (and B) of all adapters at work stand under each other; what an adapter makes of rows that are not its own is
    multiplied by 0.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[str] = []
        self.distinct: list[str] = []
        self._stacks: dict[tuple[Any, ...], Stack | None] = {}
        self._masks: dict[tuple[tuple[int, int], ...], torch.Tensor] = {}

    def take(self, names: list[str]) -> None:
        """Whose each row is ("": the base's)."""
        if names != self.names:
            self._masks.clear()
            if (distinct := sorted(set(names))) != self.distinct:
                self.distinct = distinct
                self._stacks.clear()
            self.names = names

    def add(self, layers: Sequence[Any], x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """`out` of bases that read the same x, beside each other, with what the adapters add: low-rank products."""
        if (key := tuple(layers)) not in self._stacks:
            self._stacks[key] = self._stack(layers)
        stack = self._stacks[key]
        if stack is None:
            return out
        low_BR = product(x.to(stack.a_RI.dtype), stack.a_RI)
        if len(self.distinct) > 1:
            low_BR.mul_(self._mask(stack.owners))
        for columns, ranks, b_RO in stack.parts:
            if out.dtype == low_BR.dtype:
                out[:, columns].addmm_(low_BR[:, ranks], b_RO)
            else:
                out[:, columns].add_((low_BR[:, ranks] @ b_RO).to(out.dtype))
        return out

    def _stack(self, layers: Sequence[Any]) -> Stack | None:
        """None where none of the adapters at work acts."""
        downs, owners, parts = [], [], []
        column = rank = 0
        for layer in layers:
            held = [name for name in self.distinct if type(layer) is LoraLinear and name in layer.scales]
            pairs = [layer.matrices(name) for name in held]
            if held:
                b_RO = torch.cat([b * layer.scales[name] for name, (_, b) in zip(held, pairs, strict=True)], 1).t()
                parts.append((slice(column, column + b_RO.shape[1]), slice(rank, rank + len(b_RO)), b_RO))
                rank += len(b_RO)
            downs += [a for a, _ in pairs]
            owners += [(self.distinct.index(name), len(a)) for name, (a, _) in zip(held, pairs, strict=True)]
            column += layer.out_features
        return Stack(torch.cat(downs), tuple(owners), parts) if downs else None

    def _mask(self, owners: tuple[tuple[int, int], ...]) -> torch.Tensor:
        """BR: 1 where the rank is the row's own adapter's."""
        if owners not in self._masks:
            owner_R = torch.cat([torch.full((count,), name) for name, count in owners])
            mine_B = torch.tensor([self.distinct.index(name) for name in self.names])
            self._masks[owners] = (mine_B[:, None] == owner_R).to(self.device, torch.float32)
        return self._masks[owners]


class WrittenStep:
    """The step of one net. Adapters and weights may come, go and change between steps."""

    def __init__(self, model: TunableModel, *, stays: bool = False) -> None:
        """stays: the base's weights never change, so that what is made of them may be kept."""
        self.model = model
        self.net: Any = model.net.base_model
        self.rows = AdapterRows(self.model.device)
        layers: Any = self.net.layers
        self._windows = [window_of(layer.self_attn) for layer in layers]
        self._packed = self._pack() if stays and model.device.type == "cpu" else {}
        self._cos_TD = self._sin_TD = torch.empty(0, 0)
        self._one_row: dict[str, OneRow | None] = {}  # of the latest adapter that spoke alone

    @staticmethod
    def of(model: TunableModel, *, stays: bool = False) -> WrittenStep | None:
        """None for nets that are not known: the library's forward pass serves them."""
        net: Any = model.net.base_model
        if type(net).__name__ not in KNOWN or net.rotary_emb.rope_type in ("dynamic", "longrope"):
            return None
        return WrittenStep(model, stays=stays)

    def logits(self, ids: Sequence[int], cache_step: CacheStep, adapters: list[str]) -> torch.Tensor:
        """Logits (BV) after one new token for each live sequence of a cache."""
        # as the library's way has it: "" is the active adapter, and the base beside named ones
        names = adapters if any(adapters) else [self.model.route.active] * len(adapters)
        if len(ids) == 1 and (one_row := self._alone(names[0])):
            logits_BV = one_row.logits(ids[0], cache_step.cache)
            cache_step.finish()
            return logits_BV
        self.rows.take(names)
        with self.model.route.sending(segments((adapter, 1) for adapter in adapters)):  # for what computes by itself
            hidden_BE: torch.Tensor = self.net.embed_tokens(torch.tensor(ids, device=self.model.device))
            turn = self._turn(cache_step)
            for number, layer in enumerate(self.net.layers):
                hidden_BE = self._layer(number, layer, hidden_BE, turn, cache_step)
            hidden_BE = _norm(self.net.norm, hidden_BE)
            head: Any = self.model.net.get_output_embeddings()
            logits_BV, new = self._plain(head, hidden_BE), new_rows.of_head(self.model.net)
            logits_BV = logits_BV if new is None else new.said(logits_BV, hidden_BE, head.bias)
        cache_step.finish()
        return logits_BV.float()

    def forget(self) -> None:
        """Drop what was made from adapters: their weights may change now."""
        self.rows = AdapterRows(self.model.device)
        self._one_row.clear()

    def _alone(self, adapter: str) -> OneRow | None:
        if adapter not in self._one_row:
            serves = OneRow.serves(self.model, adapter)
            self._one_row = {adapter: OneRow(self.model, adapter, self._tables) if serves else None}
        return self._one_row[adapter]

    def _tables(self, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and signed sines (TD) of the rotary embedding, for so many positions at least."""
        if len(self._cos_TD) < longest:
            places = torch.arange(2 * longest, device=self.model.device)[None]
            cos, sin = self.net.rotary_emb(self.net.norm.weight, places)
            half = sin.shape[-1] // 2
            self._cos_TD, self._sin_TD = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)
        return self._cos_TD, self._sin_TD

    def _turn(self, cache_step: CacheStep) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and signed sines (B1D) of the rotary embedding at the new tokens' positions."""
        cos_TD, sin_TD = self._tables(cache_step.longest)
        at = cache_step.at_B
        return cos_TD.index_select(0, at)[:, None], sin_TD.index_select(0, at)[:, None]

    def _layer(
        self,
        number: int,
        layer: nn.Module,
        hidden_BE: torch.Tensor,
        turn: tuple[torch.Tensor, torch.Tensor],
        cache_step: CacheStep,
    ) -> torch.Tensor:
        parts = layer._modules  # plain dictionaries: a module's own look-up of names costs more than its norm
        heads, mlp = parts["self_attn"], parts["mlp"]
        hidden_BE = hidden_BE + self._attention(
            number, heads, _norm(parts["input_layernorm"], hidden_BE), turn, cache_step
        )
        x = _norm(parts["post_attention_layernorm"], hidden_BE)
        if isinstance(mlp, Beside):  # it works on the whole part
            return hidden_BE.add_(mlp(x))
        inner_parts: Any = mlp._modules  # type: ignore[union-attr]
        gate, up = self._joint([inner_parts["gate_proj"], inner_parts["up_proj"]], x).chunk(2, -1)
        return hidden_BE.add_(self._linear(inner_parts["down_proj"], inner_parts["act_fn"](gate).mul_(up)))

    def _attention(
        self, number: int, heads: Any, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], cache_step: CacheStep
    ) -> torch.Tensor:
        parts, size = heads._modules, heads.head_dim
        qkv = self._joint([parts[name] for name in ("q_proj", "k_proj", "v_proj")], x).view(len(x), -1, size)
        groups = parts["k_proj"].out_features // size
        num_heads = qkv.shape[1] - 2 * groups
        qk, v = qkv[:, :-groups], qkv[:, -groups:]
        if "q_norm" in parts:
            qk = torch.cat([_norm(parts["q_norm"], qk[:, :num_heads]), _norm(parts["k_norm"], qk[:, num_heads:])], 1)
        qk = torch.addcmul(qk * turn[0], qk.roll(size // 2, -1), turn[1])
        out = cache_step.attend_rows(
            number, qk[:, :num_heads], qk[:, num_heads:], v, scaling=heads.scaling, window=self._windows[number]
        )
        return self._linear(parts["o_proj"], out.reshape(len(x), -1))

    def _linear(self, module: Any, x: torch.Tensor) -> torch.Tensor:
        if self._is_low_rank(module):
            return self.rows.add([module], x, self._linear(module.base, x))
        if type(module) is nn.Linear:
            return self._plain(module, x)
        out: torch.Tensor = module(x)
        return out

    def _joint(self, modules: Sequence[Any], x: torch.Tensor) -> torch.Tensor:
        """What several layers make of the same, beside each other; in one product where their weights are packed so."""
        bases = [module.base if self._is_low_rank(module) else module for module in modules]
        packed = self._packed.get(bases[0]) if 1 < len(x) <= FEW_ROWS else None
        if packed is None or any(type(base) is not nn.Linear for base in bases):
            return torch.cat([self._linear(module, x) for module in modules], -1)
        return self.rows.add(modules, x, packed(x))

    def _is_low_rank(self, module: Any) -> bool:
        """Whether all that acts beside a layer in this step is A and B."""
        return type(module) is LoraLinear and module.dora.isdisjoint(self.rows.distinct)

    def _plain(self, module: Any, x: torch.Tensor) -> torch.Tensor:
        packed = self._packed.get(module) if 1 < len(x) <= FEW_ROWS else None
        return product(x, module.weight, module.bias) if packed is None else packed(x)

    def _pack(self) -> dict[nn.Module, Packed]:
        """The weights of linear layers in the layout that oneDNN computes in, as far as they fit: bringing them into it
        anew takes a quarter to a half of a product with a few rows. Under the first of those that read the same.
        """
        packed: dict[nn.Module, Packed] = {}
        left = PACKED_BYTES
        groups: list[list[Any]] = [[self.model.net.get_output_embeddings()]]
        for layer in cast("Any", self.net.layers):
            heads, mlp = layer.self_attn._modules, layer.mlp
            groups += [[heads[name] for name in ("q_proj", "k_proj", "v_proj")], [heads["o_proj"]]]
            if not isinstance(mlp, Beside):
                groups += [[mlp.gate_proj, mlp.up_proj], [mlp.down_proj]]
        for group in groups:
            linears: list[Any] = [own(module) for module in group]
            plain = all(type(linear) is nn.Linear and linear.weight.dtype == torch.float32 for linear in linears)
            size = sum(linear.weight.numel() for linear in linears) if plain else 0
            if size >= LEAST_PACKED and 4 * size <= left:
                left -= 4 * size
                packed[linears[0]] = Packed.of(linears)
        return packed


def _norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    if "stands_for" in norm.__dict__:  # another library's, with adapters of its own
        return norm(x)  # type: ignore[no-any-return]
    scale = x.square().mean(-1, keepdim=True).add_(norm.variance_epsilon).rsqrt_()
    return torch.mul(x, scale).mul_(norm.weight)
