"""What the proofs of packing and accumulation share: the whole gradient of a step, and how far two ways differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tunewright.core.parts import Subject

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

PROBE_TOKENS = 512  # probes are cut here: a claim about sums needs no long rows


def probes(subject: Subject) -> list[list[Row]]:
    """The rows of each probe, at most PROBE_TOKENS long: without their ends, or without their beginnings where nothing
    would be left to learn (long prompts).
    """
    chat, most = subject.open_chat(), min(PROBE_TOKENS, subject.max_tokens)
    units = []
    for example in subject.examples:
        rows = subject.objective.encode(example, chat, max_tokens=most)
        if not any(row.num_learned for row in rows):
            whole = subject.objective.encode(example, chat, max_tokens=subject.max_tokens)
            rows = [replace(row, items=row.items[-most:], weights=row.weights[-most:]) for row in whole]
        units.append(rows)
    return units


def compared(
    subject: Subject, first: Callable[[TunableModel], float], second: Callable[[TunableModel], float], *, bound: float
) -> tuple[float, float, str]:
    """Loss and gradient of two ways to compute the same step: relative gaps, and the number format measured in.

    Each way adds up gradients on the model and returns the loss. Where the model knows the probes already, gradients
    are small sums of large parts and float32 rounding alone may pass the bound: then float64 decides.
    """
    import torch

    from tunewright.models import new_rows
    from tunewright.models.heads import attach_head
    from tunewright.models.reference import Reference

    for dtype in (torch.float32, torch.float64):
        model = subject.open_base()
        subject.method.attach(model.net, seed=subject.seed)
        new_rows.attach(model.net, thaws=subject.method.thaws)
        attach_head(model.net, subject.objective.head, seed=subject.seed)
        model.net.double() if dtype == torch.float64 else model.net.float()
        trained = [p for p in model.net.parameters() if p.requires_grad]
        _nudge(trained)
        if subject.objective.uses_reference:
            model.reference = Reference(model, subject.method, subject.open_base)
        one, gradient_one = _measured(first, model, trained)
        other, gradient_other = _measured(second, model, trained)
        loss_gap = abs(one - other) / max(abs(other), 1e-12)
        gradient_gap = float((gradient_one - gradient_other).norm() / gradient_other.norm().clamp_min(1e-30))
        if gradient_gap <= bound:
            break
    return loss_gap, gradient_gap, str(dtype).removeprefix("torch.")


def _measured(
    way: Callable[[TunableModel], float], model: TunableModel, trained: Sequence[torch.nn.Parameter]
) -> tuple[float, torch.Tensor]:
    import torch

    for parameter in trained:
        parameter.grad = None
    loss = way(model)
    parts: list[Any] = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    return loss, torch.cat([part.flatten().double() for part in parts])


def _nudge(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Move matrices that are all zero a little (LoRA's B): a gradient through zero would prove nothing."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
