"""The vocabulary head at learned positions only, in chunks: full logits never exist.

The gradient is made in the forward pass, where the probabilities are at hand. Shape letters: K learned tokens,
D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear

CHUNK_ELEMENTS = 8_000_000  # logits held at once
Transform = (
    Callable[[torch.Tensor], torch.Tensor] | None
)  # what the model does to logits (soft-cap, scale); None: nothing


class WeightedNLL(torch.autograd.Function):
    """Sum over tokens of weight * ((1 - smoothing) * nll + smoothing * mean nll over the vocabulary).

    A loss that is linear in log-probs: its gradient to hidden states and head is known in the forward pass.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_KD: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        target_K: torch.Tensor,
        weights_K: torch.Tensor,
        smoothing: float,
    ) -> torch.Tensor:
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden_KD) if need_hidden else None
        grad_weight = torch.zeros_like(weight_VD) if need_weight else None
        grad_bias = torch.zeros_like(bias_V) if need_bias and bias_V is not None else None
        total = wide(hidden_KD.new_zeros(()))
        vocabulary = weight_VD.shape[0]
        for at in chunks(len(target_K), vocabulary):
            h, t, w = hidden_KD[at], target_K[at], weights_K[at]
            logits = wide(linear(h, weight_VD, bias_V))
            target, mean = logits.gather(1, t[:, None])[:, 0], logits.mean(-1) if smoothing else 0.0
            top = logits.amax(-1, keepdim=True)
            mass = logits.sub_(top).exp_().sum(-1)  # in place: one buffer of logits is all there is
            nll = mass.log() + top[:, 0] - (1 - smoothing) * target - smoothing * mean
            total += (nll * w).sum()
            if not (need_hidden or need_weight or need_bias):
                continue
            grad = logits.mul_((w / mass)[:, None])  # softmax times the weight
            if smoothing:
                grad -= (w * (smoothing / vocabulary))[:, None]
            grad[torch.arange(len(t), device=t.device), t] -= (1 - smoothing) * w
            grad = grad.to(h.dtype)
            if grad_hidden is not None:
                torch.mm(grad, weight_VD, out=grad_hidden[at])
            if grad_weight is not None:
                grad_weight.addmm_(grad.t(), h)
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        ctx.gradients = (grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:  # type: ignore[override]
        made = tuple(None if g is None else g.mul_(upstream.to(g.dtype)) for g in ctx.gradients)
        return (*made, None, None, None)


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
        target_K: torch.Tensor,
        weights_K: torch.Tensor,
        teacher: Callable[[slice], torch.Tensor],
        temperature: float,
        mix: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden_KD) if need_hidden else None
        grad_weight = torch.zeros_like(weight_VD) if need_weight else None
        grad_bias = torch.zeros_like(bias_V) if need_bias and bias_V is not None else None
        nll, divergence = wide(hidden_KD.new_zeros(())), wide(hidden_KD.new_zeros(()))
        for at in chunks(len(target_K), weight_VD.shape[0]):
            h, t, w = hidden_KD[at], target_K[at], weights_K[at]
            logits = wide(linear(h, weight_VD, bias_V))
            soft, wanted = (torch.log_softmax(x / temperature, -1) for x in (logits, wide(teacher(at))))
            hard = torch.log_softmax(logits, -1)
            nll -= (hard.gather(1, t[:, None])[:, 0] * w).sum()
            divergence += ((wanted.exp() * (wanted - soft)).sum(-1) * w).sum()
            if not (need_hidden or need_weight or need_bias):
                continue
            grad = soft.exp_().sub_(wanted.exp_()).mul_((1 - mix) * temperature)  # T^2 times the 1 / T of the softening
            grad.add_(hard.exp_(), alpha=mix)
            grad[torch.arange(len(t), device=t.device), t] -= mix
            grad = grad.mul_(w[:, None]).to(h.dtype)
            if grad_hidden is not None:
                torch.mm(grad, weight_VD, out=grad_hidden[at])
            if grad_weight is not None:
                grad_weight.addmm_(grad.t(), h)
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        ctx.gradients = (grad_hidden, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll, divergence)
        return mix * nll + (1 - mix) * temperature**2 * divergence, nll, divergence

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> Any:  # type: ignore[override]
        made = tuple(None if g is None else g.mul_(upstream.to(g.dtype)) for g in ctx.gradients)
        return (*made, None, None, None, None, None)


class TokenLogProbs(torch.autograd.Function):
    """Log-prob of each target, for losses that are not linear in log-probs.

    With a frozen head, d log p / d hidden is kept from the forward pass; where the head trains, chunks are computed
    again in the backward pass.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, hidden_KD: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor | None, target_K: torch.Tensor
    ) -> torch.Tensor:
        frozen = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[1:3])
        slope = torch.empty_like(hidden_KD) if frozen else None
        out = wide(hidden_KD.new_empty(len(target_K)))
        for at in chunks(len(target_K), weight_VD.shape[0]):
            logp = torch.log_softmax(wide(linear(hidden_KD[at], weight_VD, bias_V)), -1)
            out[at] = logp.gather(1, target_K[at][:, None])[:, 0]
            if slope is not None:
                grad = logp.exp_().neg_()
                grad[torch.arange(len(grad), device=grad.device), target_K[at]] += 1
                torch.mm(grad.to(hidden_KD.dtype), weight_VD, out=slope[at])
        ctx.save_for_backward(hidden_KD, weight_VD, bias_V, target_K, slope)
        return out

    @staticmethod
    def backward(ctx: Any, upstream_K: torch.Tensor) -> Any:  # type: ignore[override]
        hidden, weight, bias, target, slope = ctx.saved_tensors
        if slope is not None:
            return slope * upstream_K[:, None].to(slope.dtype), None, None, None
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for at in chunks(len(target), weight.shape[0]):
            grad = torch.softmax(wide(linear(hidden[at], weight, bias)), -1).neg_()
            grad[torch.arange(len(grad), device=grad.device), target[at]] += 1
            grad = grad.mul_(upstream_K[at][:, None]).to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(grad, weight, out=grad_hidden[at])
            if grad_weight is not None:
                grad_weight.addmm_(grad.t(), hidden[at])
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        return grad_hidden, grad_weight, grad_bias, None


def transformed_log_probs(
    hidden_KD: torch.Tensor,
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    target_K: torch.Tensor,
    transform: Transform,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-prob of each target and mean log-prob over the vocabulary, for models that change their logits; plain
    autograd.
    """
    assert transform is not None
    logp = torch.log_softmax(wide(transform(linear(hidden_KD, weight_VD, bias_V))), -1)
    return logp.gather(1, target_K[:, None])[:, 0], logp.mean(-1)


def wide(x: torch.Tensor) -> torch.Tensor:
    """In float32 at least: half formats are too coarse for sums over a vocabulary."""
    return x if x.dtype == torch.float64 else x.float()


def chunks(count: int, vocabulary: int) -> list[slice]:
    """Slices over `count` tokens, so that each holds at most CHUNK_ELEMENTS logits."""
    size = max(1, CHUNK_ELEMENTS // vocabulary)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
