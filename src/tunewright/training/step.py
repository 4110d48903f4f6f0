"""One optimizer step: micro-batches, each loss term divided once by its global count, clipping, the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tunewright.core.parts import Keeping, Method, Objective
from tunewright.core.recipe import TrainOptions
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel
from tunewright.training.optimizers import optimizer


@dataclass(frozen=True)
class StepResult:
    """What one step did. loss: the weighted sum of the terms' means. metrics: means over the step. taken False: not
    finite, weights left alone.
    """

    loss: float
    terms: dict[str, float]
    grad_norm: float
    taken: bool
    tokens: int
    forest_tokens: int
    learned_tokens: float
    metrics: dict[str, float]


def gradients(
    model: TunableModel,
    objective: Objective | Keeping,
    units: Sequence[Sequence[Row]],
    *,
    micro_tokens: int,
    share: bool,
) -> tuple[float, dict[str, float], int, dict[str, float]]:
    """Add up the gradients of a step over micro-batches. Returns loss, terms, forest tokens and metrics.

    The result does not depend on `micro_tokens`: every term is a sum divided by a count known before the first
    backward.
    """
    counts = objective.counts([row for unit in units for row in unit])
    with torch.no_grad():
        objective = objective.for_step(model, units, micro_tokens=micro_tokens, share=share)
    terms = dict.fromkeys(counts, 0.0)
    metrics = Means()
    total, forest_tokens = 0.0, 0
    for rows in model.micro_batches(units, micro_tokens, share=share):
        forest = model.forest(rows, share=share)
        forest_tokens += forest.num_tokens
        loss = objective.loss(model, forest)
        parts = [value * (weight / counts[name]) for name, (value, weight) in loss.terms.items() if counts[name] > 0]
        if parts:
            whole = torch.stack(parts).sum()
            if whole.requires_grad:
                whole.backward()  # type: ignore[no-untyped-call]
            total += float(whole.detach())
        for name, (value, _) in loss.terms.items():
            terms[name] += float(value.detach()) / max(counts[name], 1e-12)
        metrics.add(loss.metrics)
    return total, terms, forest_tokens, metrics.means()


class Means(dict[str, tuple[float, float]]):
    """Means of figures that come as (sum, count) of each micro-batch."""

    def add(self, metrics: Mapping[str, tuple[float, float]]) -> None:
        """Add those of a micro-batch."""
        for name, (figure, count) in metrics.items():
            before = self.get(name, (0.0, 0.0))
            self[name] = (before[0] + figure, before[1] + count)

    def means(self) -> dict[str, float]:
        """Each mean; a figure that was never counted is left out."""
        return {name: figure / count for name, (figure, count) in self.items() if count}


class Stepper:
    """The recipe's optimizer over a method's parameter groups."""

    def __init__(self, model: TunableModel, method: Method, objective: Objective, options: TrainOptions) -> None:
        assert options.lr is not None and options.micro_tokens is not None
        self.model, self.objective, self.options = model, objective, options
        self.share = options.share or not (method.draws or objective.draws)
        groups = [
            {
                "params": g["params"],
                "lr": g["lr"],
                "peak": g["lr"],
                "weight_decay": options.weight_decay if g["decay"] else 0.0,
            }
            for g in method.groups(model.net, options.lr)
            if g["params"]
        ]
        self.optimizer = optimizer(options.optimizer, groups, betas=options.betas)
        self.parameters = [p for group in groups for p in group["params"]]

    def take(
        self, units: Sequence[Sequence[Row]], *, factor: float, seed: int, gradients: Callable[..., Any] = gradients
    ) -> StepResult:
        """One step at `factor` times the peak rates. A loss or gradient that is not finite leaves weights and state
        alone.
        """
        assert self.options.micro_tokens is not None
        torch.manual_seed(seed)
        self.optimizer.zero_grad(set_to_none=True)
        with self.model.training():
            loss, terms, forest_tokens, metrics = gradients(
                self.model, self.objective, units, micro_tokens=self.options.micro_tokens, share=self.share
            )
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.options.clip))
        taken = math.isfinite(loss) and math.isfinite(norm)
        if taken:
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        rows = [row for unit in units for row in unit]
        return StepResult(
            loss=loss,
            terms=terms,
            grad_norm=norm,
            taken=taken,
            tokens=sum(len(row.items) for row in rows),
            forest_tokens=forest_tokens,
            learned_tokens=sum(row.num_learned for row in rows),
            metrics=metrics,
        )


def together(results: Sequence[StepResult]) -> StepResult:
    """Several steps on the same rows as one: means of what was measured, sums of what was done."""
    num = len(results)

    def mean(of: Callable[[StepResult], dict[str, float]]) -> dict[str, float]:
        return {name: sum(of(result)[name] for result in results) / num for name in of(results[0])}

    return StepResult(
        loss=sum(result.loss for result in results) / num,
        terms=mean(lambda result: result.terms),
        grad_norm=sum(result.grad_norm for result in results) / num,
        taken=all(result.taken for result in results),
        tokens=sum(result.tokens for result in results),
        forest_tokens=sum(result.forest_tokens for result in results),
        learned_tokens=sum(result.learned_tokens for result in results),
        metrics=mean(lambda result: result.metrics),
    )


@dataclass(frozen=True)
class Look:
    """What examples that are not learned from say about the model."""

    terms: Means = field(default_factory=lambda: Means())
    held: Means = field(default_factory=lambda: Means())

    @property
    def loss(self) -> float:
        """The weighted sum of the terms' means."""
        return sum(self.terms.means().values())

    @property
    def metrics(self) -> dict[str, float]:
        """Means over all examples."""
        return self.held.means()


@torch.no_grad()
def look(
    model: TunableModel,
    objective: Objective,
    units: Sequence[Sequence[Row]],
    *,
    micro_tokens: int,
    poll: Callable[[], None],
) -> Look:
    """Loss and metrics over examples, without draws. `poll` is called between forests and may raise to stop."""
    counts = objective.counts([row for unit in units for row in unit])
    objective = objective.for_step(model, units, micro_tokens=micro_tokens, share=True)
    found = Look()
    for rows in model.micro_batches(units, micro_tokens):
        poll()
        loss = objective.loss(model, model.forest(rows))
        found.terms.add({name: (float(value) * weight, 0.0) for name, (value, weight) in loss.terms.items()})
        found.held.add(loss.metrics)
    found.terms.add({name: (0.0, count) for name, count in counts.items()})
    return found


def joined(looks: Mapping[str, Look]) -> Look:
    """Looks at several tasks as one look at all of their examples; the loss of each is among the metrics."""
    whole = Look()
    for name, found in looks.items():
        whole.terms.add(found.terms)
        whole.held.add({**found.held, f"loss/{name}": (found.loss, 1.0)})
    return whole


def validation_loss(
    model: TunableModel,
    objective: Objective,
    units: Sequence[Sequence[Row]],
    *,
    micro_tokens: int,
    poll: Callable[[], None],
) -> float:
    """The loss alone of `look`."""
    return look(model, objective, units, micro_tokens=micro_tokens, poll=poll).loss
