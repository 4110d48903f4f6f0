"""The decoding step of Llama-like nets for one sequence on a CPU: every tensor is made once, each step fills it anew.

What a step of one row must do is read every weight once; making tensors and views by the way costs a third of that.
Shape letters: E hidden size, G key/value heads, D head size, I and O inputs and outputs of layers, P parts of a matrix,
R ranks, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunewright.models import new_rows
from tunewright.models.beside import Beside
from tunewright.models.cache import Cache
from tunewright.models.lora_layers import LoraLinear
from tunewright.models.pages import side_by_side
from tunewright.models.products import PARTS

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel


class OneRow:
    """The step of one net for one adapter ("": none). What it holds is the weights' own memory, but for adapters."""

    def __init__(
        self, model: TunableModel, adapter: str, tables: Callable[[int], tuple[torch.Tensor, torch.Tensor]]
    ) -> None:
        net: Any = model.net.base_model
        head: Any = model.net.get_output_embeddings()
        self.embedding_VE = net.embed_tokens.weight
        self.tables = tables
        self.hidden_E = torch.empty(len(net.norm.weight))
        self.normed_E = torch.zeros_like(self.hidden_E)
        self.layers = [_Layer(layer, adapter, self.hidden_E, self.normed_E) for layer in net.layers]
        self.norm = _Norm(net.norm, self.hidden_E, self.normed_E)
        self.logits_V = torch.empty(head.weight.shape[0])
        self.head = _Product([head], adapter, self.normed_E, self.logits_V)
        self.new_inside, self.new_said = (new_rows.of(module, adapter) for module in (net.embed_tokens, head))
        self._seen: torch.Tensor | None = None
        self._places: list[tuple[torch.Tensor, torch.Tensor]] = []

    @staticmethod
    def serves(model: TunableModel, adapter: str) -> bool:
        """Whether the net is made of nothing but what is written out here, in 32-bit floats on a CPU."""
        net: Any = model.net.base_model
        parts = [model.net.get_output_embeddings(), net.norm]
        for layer in net.layers:
            if any(isinstance(part, Beside) for part in (layer, layer.self_attn, layer.mlp)):
                return False
            heads, mlp = layer.self_attn, layer.mlp
            parts += [heads.q_proj, heads.k_proj, heads.v_proj, heads.o_proj, mlp.gate_proj, mlp.up_proj]
            parts += [mlp.down_proj, layer.input_layernorm, layer.post_attention_layernorm]
            parts += [part for part in (getattr(heads, "q_norm", None), getattr(heads, "k_norm", None)) if part]
        known = all(_known(part, adapter) for part in parts)
        return known and type(net.embed_tokens) is nn.Embedding and _plain(net.embed_tokens.weight)

    def logits(self, token: int, cache: Cache) -> torch.Tensor:
        """Logits (1V) after one new token of the only live sequence; the next step writes over them."""
        at = cache.lengths[0]
        cos_TD, sin_TD = self.tables(at + 1)
        turn = cos_TD[at], sin_TD[at]
        self.hidden_E.copy_(self._embedded(token))
        for layer, (keys_TGD, values_TGD) in zip(self.layers, self._held(cache), strict=True):
            layer(at, turn, keys_TGD, values_TGD)
        self.norm()
        self.head()
        if self.new_said is not None:
            ids, rows_RE = self.new_said
            said_R = torch.mv(rows_RE, self.normed_E, out=self.logits_V[ids.start : ids.stop])
            if self.head.bias_O is not None:
                said_R += self.head.bias_O[ids.start : ids.stop]
        return self.logits_V[None]

    def _embedded(self, token: int) -> torch.Tensor:
        if self.new_inside is not None and token in self.new_inside.ids:
            return self.new_inside.rows_RD[token - self.new_inside.ids.start]
        return self.embedding_VE[token]

    def _held(self, cache: Cache) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The keys and values of the first slot, a pair a layer."""
        if self._seen is not cache.keys[0]:
            self._seen = cache.keys[0]
            self._places = [(cache.keys[layer][0], cache.values[layer][0]) for layer in range(len(self.layers))]
        return self._places


def window_of(heads: Any) -> int | None:
    """How many tokens a layer's attention sees, where it has a window: of its own, or the net's."""
    found: int | None = heads.__dict__.get("sliding_window", getattr(heads.config, "sliding_window", None))
    return found


class _Layer:
    def __init__(self, layer: Any, adapter: str, hidden_E: torch.Tensor, normed_E: torch.Tensor) -> None:
        heads, mlp = layer.self_attn, layer.mlp
        size: int = heads.head_dim
        self.half, self.scale = size // 2, heads.scaling
        self.window = window_of(heads)
        asked, groups = heads.q_proj.out_features // size, heads.k_proj.out_features // size
        qkv_OD = torch.empty(asked + 2 * groups, size)
        self.qk_OD, self.v_GD = qkv_OD[: asked + groups], qkv_OD[asked + groups :]
        self.turned_OD = torch.empty_like(self.qk_OD)
        self.q_GXD = self.turned_OD[:asked].view(groups, -1, size)  # X: query heads of a group
        self.k_GD = self.turned_OD[asked:]
        self.head_norms = _HeadNorms(heads, self.qk_OD, asked) if getattr(heads, "q_norm", None) else None
        self.mixed_GXD = torch.zeros_like(self.q_GXD)
        gate_up_O = torch.empty(2 * mlp.gate_proj.out_features)
        self.gate_I, self.up_I = gate_up_O.chunk(2)
        self.inner_I = torch.zeros_like(self.gate_I)
        self.act: Callable[[torch.Tensor], torch.Tensor] = mlp.act_fn
        self.before_heads = _Norm(layer.input_layernorm, hidden_E, normed_E)
        self.before_mlp = _Norm(layer.post_attention_layernorm, hidden_E, normed_E)
        self.qkv = _Product([heads.q_proj, heads.k_proj, heads.v_proj], adapter, normed_E, qkv_OD.view(-1))
        self.o = _Product([heads.o_proj], adapter, self.mixed_GXD.view(-1), hidden_E, adds=True)
        self.gate_up = _Product([mlp.gate_proj, mlp.up_proj], adapter, normed_E, gate_up_O)
        self.down = _Product([mlp.down_proj], adapter, self.inner_I, hidden_E, adds=True)

    def __call__(
        self, at: int, turn: tuple[torch.Tensor, torch.Tensor], keys_TGD: torch.Tensor, values_TGD: torch.Tensor
    ) -> None:
        self.before_heads()
        self.qkv()
        if self.head_norms:
            self.head_norms()
        torch.mul(self.qk_OD, turn[0], out=self.turned_OD).addcmul_(self.qk_OD.roll(self.half, -1), turn[1])
        keys_TGD[at] = self.k_GD
        values_TGD[at] = self.v_GD
        first = max(0, at + 1 - self.window) if self.window else 0
        scores_GXT = torch.bmm(self.q_GXD, keys_TGD[first : at + 1].permute(1, 2, 0)).mul_(self.scale)
        torch.bmm(torch.softmax(scores_GXT, -1), values_TGD[first : at + 1].transpose(0, 1), out=self.mixed_GXD)
        self.o()
        self.before_mlp()
        self.gate_up()
        torch.mul(self.act(self.gate_I), self.up_I, out=self.inner_I)
        self.down()


class _Norm:
    """RMSNorm of a vector at a fixed place (Zhang and Sennrich 2019, eq. 4)."""

    def __init__(self, norm: Any, x_E: torch.Tensor, out_E: torch.Tensor) -> None:
        self.x_E, self.out_E, self.weight_E, self.eps = x_E, out_E, norm.weight, float(norm.variance_epsilon)
        self.zero_E = torch.zeros_like(x_E)

    def __call__(self) -> None:
        scale = (float(self.x_E.dot(self.x_E)) / len(self.x_E) + self.eps) ** -0.5
        torch.addcmul(self.zero_E, self.x_E, self.weight_E, value=scale, out=self.out_E)


class _HeadNorms:
    """Each head's own RMSNorm of queries and keys, in place."""

    def __init__(self, heads: Any, qk_OD: torch.Tensor, asked: int) -> None:
        self.x_OD, self.eps = qk_OD, float(heads.q_norm.variance_epsilon)
        q_D, k_D = heads.q_norm.weight, heads.k_norm.weight
        self.weight_OD = torch.cat([q_D.expand(asked, -1), k_D.expand(len(qk_OD) - asked, -1)])

    def __call__(self) -> None:
        scale = self.x_OD.square().mean(-1, keepdim=True).add_(self.eps).rsqrt_()
        self.x_OD.mul_(scale).mul_(self.weight_OD)


class _Product:
    """W x + b of linear layers that read the same vector, put (or added) where it is wanted, with their adapters."""

    def __init__(
        self, modules: Sequence[Any], adapter: str, x_I: torch.Tensor, out_O: torch.Tensor, *, adds: bool = False
    ) -> None:
        linears: list[Any] = [module.base if isinstance(module, LoraLinear) else module for module in modules]
        joint_OI = side_by_side([linear.weight for linear in linears])
        self.x_I, self.sum_O = x_I, out_O if adds else None
        self.out_O = torch.empty_like(out_O) if adds else out_O
        self.calls = []
        first = 0
        for weight_OI in [linear.weight for linear in linears] if joint_OI is None else [joint_OI]:
            self.calls += _calls(weight_OI, x_I, self.out_O[first : first + len(weight_OI)])
            first += len(weight_OI)
        biases = [getattr(linear, "bias", None) for linear in linears]
        self.bias_O = None
        if any(bias is not None for bias in biases):
            self.bias_O = torch.cat(
                [torch.zeros(len(x.weight)) if b is None else b for x, b in zip(linears, biases, strict=True)]
            )
        self.low = _low_rank(modules, adapter)

    def __call__(self) -> None:
        for weight_POI, x_PI1, out_PO1 in self.calls:
            torch.bmm(weight_POI, x_PI1, out=out_PO1)
        if self.bias_O is not None:
            self.out_O.add_(self.bias_O)
        if self.low:
            a_RI, b_OR = self.low
            self.out_O.addmv_(b_OR, torch.mv(a_RI, self.x_I))
        if self.sum_O is not None:
            self.sum_O.add_(self.out_O)


def _calls(
    weight_OI: torch.Tensor, x_I: torch.Tensor, out_O: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """A matrix in equal parts, and what is left over when its rows are no multiple of their number."""
    even = len(weight_OI) // PARTS * PARTS
    cuts = [(slice(0, even), PARTS), (slice(even, None), 1)]
    return [
        (weight_OI[rows].view(parts, -1, len(x_I)), x_I[None].t().expand(parts, -1, 1), out_O[rows].view(parts, -1, 1))
        for rows, parts in cuts
        if len(weight_OI[rows])
    ]


def _low_rank(modules: Sequence[Any], adapter: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A (RI) and B (OR) of an adapter on several layers as one: the A under each other, each B in its own block."""
    held = [isinstance(module, LoraLinear) and adapter in module.scales for module in modules]
    if not any(held):
        return None
    pairs = [module.matrices(adapter) for module, has in zip(modules, held, strict=True) if has]
    b_OR = torch.zeros(sum(module.out_features for module in modules), sum(len(a) for a, _ in pairs))
    row, column, order = 0, 0, iter(pairs)
    for module, has in zip(modules, held, strict=True):
        if has:
            a, b = next(order)
            b_OR[row : row + len(b), column : column + len(a)] = b * module.scales[adapter]
            column += len(a)
        row += module.out_features
    return torch.cat([a for a, _ in pairs]), b_OR


def _known(part: Any, adapter: str) -> bool:
    if type(part) is LoraLinear:
        return adapter not in part.dora and type(part.base) is nn.Linear and _plain(part.base.weight)
    if isinstance(part, nn.Linear):
        return type(part) is nn.Linear and _plain(part.weight)
    others = isinstance(part, Beside) or "stands_for" in part.__dict__  # what another library put in its place
    return not others and hasattr(part, "variance_epsilon") and _plain(part.weight)


def _plain(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()
