"""One decoding step of Llama-like nets, written out: the same sums as the library's forward pass, in fewer calls.

Shape letters: B live sequences, E hidden size, D head size, T positions, I and O a layer's inputs and outputs, R ranks
of all adapters at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tunewright.models import new_rows
from tunewright.models.beside import Beside
from tunewright.models.cache import CacheStep
from tunewright.models.forest import segments
from tunewright.models.lora_layers import LoraLinear
from tunewright.models.one_row import PARTS, OneRow, window_of
from tunewright.models.tunable import TunableModel

KNOWN = {"LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model"}
FEW_ROWS = 128  # up to here oneDNN is the faster one,
SMALL = 2**20  # but for products of no more multiplications than this, as an adapter's low ranks
PACKED_BYTES = 2**29  # of weights that are held in oneDNN's layout too
LEAST_PACKED = 2**16  # numbers of a weight that is worth it


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x W^T + b for a few rows: torch's own linear reads float32 weights at less than half of the memory's speed."""
    if x.dtype != torch.float32 or weight.dtype != torch.float32 or x.device.type != "cpu" or len(x) > FEW_ROWS:
        return functional.linear(x, weight, bias)
    if len(x) > 1 and len(x) * weight.numel() < SMALL:
        return functional.linear(x, weight, bias)
    if len(x) == 1 and len(weight) % PARTS == 0 and weight.is_contiguous():
        parts = weight.view(PARTS, -1, weight.shape[1])
        out = torch.bmm(parts, x.t().expand(PARTS, -1, 1)).view(1, -1)
        return out if bias is None else out.add_(bias)
    out = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class AdapterRows:
    """The adapters of a step, one a row, as two products a layer whatever their number.

    The A (and B) of all adapters at work stand under each other; what an adapter makes of rows that are not its own is
    multiplied by 0.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.distinct: list[str] = []
        self._stacks: dict[LoraLinear, tuple[torch.Tensor, torch.Tensor]] = {}
        self._masks: dict[tuple[int, ...], torch.Tensor] = {}

    def take(self, names: list[str]) -> None:
        """Whose each row is ("": the base's)."""
        if names != self.names:
            self._masks.clear()
            if (distinct := sorted(set(names))) != self.distinct:
                self.distinct = distinct
                self._stacks.clear()
            self.names = names

    def added(self, layer: LoraLinear, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """`out` of the base, with what the adapters add to it: low-rank products and nothing else."""
        held = [name for name in self.distinct if name in layer.scales]
        if not held:
            return out
        if layer not in self._stacks:
            self._stacks[layer] = (
                torch.cat([layer.matrices(name)[0] for name in held]),
                torch.cat([layer.matrices(name)[1] * layer.scales[name] for name in held], 1),
            )
        a_RI, b_OR = self._stacks[layer]
        low_BR = product(x.to(a_RI.dtype), a_RI)
        if len(self.distinct) > 1:
            low_BR.mul_(self._mask(layer))
        return out.add_(product(low_BR, b_OR).to(out.dtype))

    def _mask(self, layer: LoraLinear) -> torch.Tensor:
        """BR: 1 where the rank is the row's own adapter's."""
        ranks = tuple(len(layer.matrices(name)[0]) if name in layer.scales else 0 for name in self.distinct)
        if ranks not in self._masks:
            owner_R = torch.arange(len(ranks)).repeat_interleave(torch.tensor(ranks))
            mine_B = torch.tensor([self.distinct.index(name) for name in self.names])
            self._masks[ranks] = (mine_B[:, None] == owner_R).to(layer.weight.device, torch.float32)
        return self._masks[ranks]


class WrittenStep:
    """The step of one net. Adapters and weights may come, go and change between steps."""

    def __init__(self, model: TunableModel, *, stays: bool = False) -> None:
        """stays: the base's weights never change, so that what is made of them may be kept."""
        self.model = model
        self.net: Any = model.net.base_model
        self.rows = AdapterRows()
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
        self.rows = AdapterRows()
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
        gate, up = self._linear(inner_parts["gate_proj"], x), self._linear(inner_parts["up_proj"], x)
        return hidden_BE.add_(self._linear(inner_parts["down_proj"], inner_parts["act_fn"](gate).mul_(up)))

    def _attention(
        self, number: int, heads: Any, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], cache_step: CacheStep
    ) -> torch.Tensor:
        parts, size = heads._modules, heads.head_dim
        q, k, v = (self._linear(parts[name], x).view(len(x), -1, size) for name in ("q_proj", "k_proj", "v_proj"))
        if "q_norm" in parts:
            q, k = _norm(parts["q_norm"], q), _norm(parts["k_norm"], k)
        num_heads = q.shape[1]
        qk = torch.cat([q, k], 1)
        qk = torch.addcmul(qk * turn[0], qk.roll(size // 2, -1), turn[1])
        out = cache_step.attend_rows(
            number, qk[:, :num_heads], qk[:, num_heads:], v, scaling=heads.scaling, window=self._windows[number]
        )
        return self._linear(parts["o_proj"], out.reshape(len(x), -1))

    def _linear(self, module: Any, x: torch.Tensor) -> torch.Tensor:
        if type(module) is LoraLinear and module.dora.isdisjoint(self.rows.distinct):
            return self.rows.added(module, x, self._linear(module.base, x))
        if type(module) is nn.Linear:
            return self._plain(module, x)
        out: torch.Tensor = module(x)
        return out

    def _plain(self, module: Any, x: torch.Tensor) -> torch.Tensor:
        packed = self._packed.get(module) if 1 < len(x) <= FEW_ROWS else None
        if packed is None:
            return product(x, module.weight, module.bias)
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, module.bias, "none", [], "")
        return out

    def _pack(self) -> dict[nn.Module, torch.Tensor]:
        """The weights of linear layers in the layout that oneDNN computes in, as far as they fit: bringing them into it
        anew takes a quarter to a half of a product with a few rows.
        """
        packed: dict[nn.Module, torch.Tensor] = {}
        left = PACKED_BYTES
        head: Any = self.model.net.get_output_embeddings()
        layers: Any = self.net.layers
        for module in (head, *layers.modules()):
            if type(module) is not nn.Linear or module.weight.dtype != torch.float32:
                continue
            size = module.weight.numel()
            if size >= LEAST_PACKED and 4 * size <= left:
                left -= 4 * size
                packed[module] = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), 16)
        return packed


def _norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    if "stands_for" in norm.__dict__:  # another library's, with adapters of its own
        return norm(x)  # type: ignore[no-any-return]
    scale = x.square().mean(-1, keepdim=True).add_(norm.variance_epsilon).rsqrt_()
    return torch.mul(x, scale).mul_(norm.weight)
