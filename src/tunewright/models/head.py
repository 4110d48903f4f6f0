"""The vocabulary head at learned positions only, in chunks: full logits never exist.

The gradient is made in the forward pass, where the probabilities are at hand. Shape letters: K learned tokens,
D hidden size, V vocabulary, R rows of new tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tunewright.models.products import add_product, product

CHUNK_ELEMENTS = {"cpu": 8_000_000, "cuda": 64_000_000}  # logits held at once; a GPU is idle in small products
Transform = (
    Callable[[torch.Tensor], torch.Tensor] | None
)  # what the model does to logits (soft-cap, scale); None: nothing


class Vocabulary(NamedTuple):
    """What makes logits of hidden states. rows_RD stand in for the matrix's own rows from `first` on, where new tokens
    have rows of their own (models/new_rows.py).
    """

    weight_VD: torch.Tensor
    bias_V: torch.Tensor | None
    rows_RD: torch.Tensor | None = None
    first: int = 0

    def detached(self) -> Vocabulary:
        """The same without gradients."""
        weight, bias, rows, first = self
        return Vocabulary(
            weight.detach(), None if bias is None else bias.detach(), None if rows is None else rows.detach(), first
        )

    @property
    def new(self) -> slice:
        """The places of the new tokens in the vocabulary."""
        return slice(self.first, self.first + (0 if self.rows_RD is None else len(self.rows_RD)))

    def logits(self, hidden_KD: torch.Tensor) -> torch.Tensor:
        """Logits (KV)."""
        logits = product(hidden_KD, self.weight_VD, self.bias_V)
        if self.rows_RD is not None:
            bias = None if self.bias_V is None else self.bias_V[self.new]
            logits[:, self.new] = product(hidden_KD, self.rows_RD, bias)
        return logits


class Gradients:
    """The gradients of hidden states and of a vocabulary, as far as they are asked for, added up chunk by chunk."""

    def __init__(self, hidden_KD: torch.Tensor, vocabulary: Vocabulary, needed: tuple[bool, ...]) -> None:
        """needed: whether each of hidden states, weight, bias and rows is asked for."""
        _, bias, rows, _ = vocabulary
        self.vocabulary, self.any = vocabulary, any(needed)
        self.hidden = torch.empty_like(hidden_KD) if needed[0] else None
        self.weight = torch.zeros_like(vocabulary.weight_VD) if needed[1] else None
        self.bias = torch.zeros_like(bias) if needed[2] and bias is not None else None
        self.rows = torch.zeros_like(rows) if needed[3] and rows is not None else None

    def add(self, at: slice, logits_KV: torch.Tensor, hidden_KD: torch.Tensor) -> None:
        """The gradient of a chunk's logits, which is spent, and the chunk's hidden states."""
        if self.bias is not None:
            self.bias += logits_KV.sum(0)
        weight, _, rows, _ = self.vocabulary
        through_rows: torch.Tensor | None = None
        if rows is not None:  # what the matrix holds in their places has no part in the logits
            of_new = logits_KV[:, self.vocabulary.new]
            through_rows = of_new @ rows
            if self.rows is not None:
                self.rows.addmm_(of_new.t(), hidden_KD)
            of_new.zero_()
        if self.hidden is not None:
            self.hidden[at] = product(logits_KV, weight.t())
            if through_rows is not None:
                self.hidden[at] += through_rows
        if self.weight is not None:
            add_product(self.weight, logits_KV.t(), hidden_KD)

    def made(self) -> tuple[torch.Tensor | None, ...]:
        """In the order of `needed`."""
        return self.hidden, self.weight, self.bias, self.rows


class WeightedNLL(torch.autograd.Function):
    """Sum over tokens of weight * ((1 - smoothing) * nll + smoothing * mean nll over the vocabulary).

    A loss that is linear in log-probs: its gradient to hidden states and head is known in the forward pass. Beside it,
    without gradient: the sum of the weights of tokens that no other token outweighs.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_KD: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        rows_RD: torch.Tensor | None,
        first: int,
        target_K: torch.Tensor,
        weights_K: torch.Tensor,
        smoothing: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        head = Vocabulary(weight_VD, bias_V, rows_RD, first)
        gradients = Gradients(hidden_KD, head, ctx.needs_input_grad[:4])
        total, right = wide(hidden_KD.new_zeros(())), wide(hidden_KD.new_zeros(()))
        vocabulary = weight_VD.shape[0]
        for at in chunks(len(target_K), vocabulary, hidden_KD.device):
            h, t, w = hidden_KD[at], target_K[at], weights_K[at]
            logits = wide(head.logits(h))
            target, mean = logits.gather(1, t[:, None])[:, 0], logits.mean(-1) if smoothing else 0.0
            top = logits.amax(-1, keepdim=True)
            right += (w * (logits.gather(1, t[:, None]) >= top)[:, 0]).sum()
            mass = logits.sub_(top).exp_().sum(-1)  # in place: one buffer of logits is all there is
            nll = mass.log() + top[:, 0] - (1 - smoothing) * target - smoothing * mean
            total += (nll * w).sum()
            if not gradients.any:
                continue
            grad = logits.mul_((w / mass)[:, None])  # softmax times the weight
            if smoothing:
                grad -= (w * (smoothing / vocabulary))[:, None]
            grad[torch.arange(len(t), device=t.device), t] -= (1 - smoothing) * w
            gradients.add(at, grad.to(h.dtype), h)
        ctx.gradients = gradients.made()
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> Any:  # type: ignore[override]
        made = tuple(None if g is None else g.mul_(upstream.to(g.dtype)) for g in ctx.gradients)
        return (*made, None, None, None, None)


class Distilled(torch.autograd.Function):
    """Sum over tokens of weight * (mix * nll + (1 - mix) * T^2 * KL(teacher || student)), both softened by T.

    Hinton et al. 2015, arXiv 1503.02531, section 2. The gradient is made in the forward pass, chunk by chunk; nll
    and KL alone come back too, without gradient.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_KD: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        rows_RD: torch.Tensor | None,
        first: int,
        target_K: torch.Tensor,
        weights_K: torch.Tensor,
        teacher: Callable[[slice], torch.Tensor],
        temperature: float,
        mix: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        head = Vocabulary(weight_VD, bias_V, rows_RD, first)
        gradients = Gradients(hidden_KD, head, ctx.needs_input_grad[:4])
        nll, divergence = wide(hidden_KD.new_zeros(())), wide(hidden_KD.new_zeros(()))
        for at in chunks(len(target_K), weight_VD.shape[0], hidden_KD.device):
            h, t, w = hidden_KD[at], target_K[at], weights_K[at]
            logits = wide(head.logits(h))
            soft, wanted = (torch.log_softmax(x / temperature, -1) for x in (logits, wide(teacher(at))))
            hard = torch.log_softmax(logits, -1)
            nll -= (hard.gather(1, t[:, None])[:, 0] * w).sum()
            divergence += ((wanted.exp() * (wanted - soft)).sum(-1) * w).sum()
            if not gradients.any:
                continue
            grad = soft.exp_().sub_(wanted.exp_()).mul_((1 - mix) * temperature)  # T^2 times the 1 / T of the softening
            grad.add_(hard.exp_(), alpha=mix)
            grad[torch.arange(len(t), device=t.device), t] -= mix
            gradients.add(at, grad.mul_(w[:, None]).to(h.dtype), h)
        ctx.gradients = gradients.made()
        ctx.mark_non_differentiable(nll, divergence)
        return mix * nll + (1 - mix) * temperature**2 * divergence, nll, divergence

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> Any:  # type: ignore[override]
        made = tuple(None if g is None else g.mul_(upstream.to(g.dtype)) for g in ctx.gradients)
        return (*made, None, None, None, None, None, None)


class TokenLogProbs(torch.autograd.Function):
    """Log-prob of each target, for losses that are not linear in log-probs.

    With a frozen head, d log p / d hidden is kept from the forward pass; where the head trains, chunks are computed
    again in the backward pass.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_KD: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        rows_RD: torch.Tensor | None,
        first: int,
        target_K: torch.Tensor,
    ) -> torch.Tensor:
        head = Vocabulary(weight_VD, bias_V, rows_RD, first)
        frozen = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[1:4])
        slope = Gradients(hidden_KD, head, (frozen, False, False, False))
        out = wide(hidden_KD.new_empty(len(target_K)))
        for at in chunks(len(target_K), weight_VD.shape[0], hidden_KD.device):
            logp = torch.log_softmax(wide(head.logits(hidden_KD[at])), -1)
            out[at] = logp.gather(1, target_K[at][:, None])[:, 0]
            if frozen:
                grad = logp.exp_().neg_()
                grad[torch.arange(len(grad), device=grad.device), target_K[at]] += 1
                slope.add(at, grad.to(hidden_KD.dtype), hidden_KD[at])
        ctx.first = first
        ctx.save_for_backward(hidden_KD, weight_VD, bias_V, rows_RD, target_K, slope.hidden)
        return out

    @staticmethod
    def backward(ctx: Any, upstream_K: torch.Tensor) -> Any:  # type: ignore[override]
        hidden, weight, bias, rows, target, slope = ctx.saved_tensors
        if slope is not None:
            return slope * upstream_K[:, None].to(slope.dtype), None, None, None, None, None
        head = Vocabulary(weight, bias, rows, ctx.first)
        gradients = Gradients(hidden, head, ctx.needs_input_grad[:4])
        for at in chunks(len(target), weight.shape[0], hidden.device):
            grad = torch.softmax(wide(head.logits(hidden[at])), -1).neg_()
            grad[torch.arange(len(grad), device=grad.device), target[at]] += 1
            gradients.add(at, grad.mul_(upstream_K[at][:, None]).to(hidden.dtype), hidden[at])
        return (*gradients.made(), None, None)


class Transformed(NamedTuple):
    """Of each target: its log-prob, the mean log-prob over the vocabulary, and whether no other token is likelier."""

    target_K: torch.Tensor
    mean_K: torch.Tensor
    right_K: torch.Tensor


def transformed_log_probs(
    hidden_KD: torch.Tensor, vocabulary: Vocabulary, target_K: torch.Tensor, transform: Transform
) -> Transformed:
    """Log-probs for models that change their logits; plain autograd."""
    assert transform is not None
    logp = torch.log_softmax(wide(transform(vocabulary.logits(hidden_KD))), -1)
    target = logp.gather(1, target_K[:, None])[:, 0]
    return Transformed(target, logp.mean(-1), target.detach() >= logp.detach().amax(-1))


def transform_of(config: Any) -> Transform:
    """What a model of this config does to its logits."""
    cap = getattr(config, "final_logit_softcapping", None)
    scale = getattr(config, "logit_scale", None) or 1.0
    divide = getattr(config, "logits_scaling", None) or 1.0
    if cap is None and scale == 1.0 and divide == 1.0:
        return None

    def change(logits: torch.Tensor) -> torch.Tensor:
        logits = logits * (scale / divide)
        return torch.tanh(logits / cap) * cap if cap is not None else logits

    return change


def wide(x: torch.Tensor) -> torch.Tensor:
    """In float32 at least: half formats are too coarse for sums over a vocabulary."""
    return x if x.dtype == torch.float64 else x.float()


def chunks(count: int, vocabulary: int, device: torch.device) -> list[slice]:
    """Slices over `count` tokens, so that each holds at most CHUNK_ELEMENTS logits."""
    size = max(1, CHUNK_ELEMENTS["cuda" if device.type == "cuda" else "cpu"] // vocabulary)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
