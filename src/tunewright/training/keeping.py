"""The gradient of a step with what keeps earlier knowledge: more rows with their own loss, penalties on the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunewright.core.parts import Keeping, Objective
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel
from tunewright.training import step


class Kept:
    """Retentions at work, by name."""

    def __init__(self, keepings: Mapping[str, Keeping]) -> None:
        self.keepings = keepings
        self.read: dict[str, list[str]] = {}  # for the ledger: earlier examples that the last step read again

    def gradients(self, number: int) -> Callable[..., tuple[float, dict[str, float], int, dict[str, float]]]:
        """`training.step.gradients` of the step with this number, each retention's gradient added.

        Each term is divided once by its own count over the whole step, so `micro_tokens` changes nothing here either.
        """

        def whole(
            model: TunableModel,
            objective: Objective,
            units: Sequence[Sequence[Row]],
            *,
            micro_tokens: int,
            share: bool,
        ) -> tuple[float, dict[str, float], int, dict[str, float]]:
            total, terms, forest_tokens, metrics = step.gradients(
                model, objective, units, micro_tokens=micro_tokens, share=share
            )
            earlier: list[str] = []
            for name, keeping in self.keepings.items():
                added = 0.0
                rows = keeping.units(number, units)
                if rows:
                    added, own, tokens, _ = step.gradients(model, keeping, rows, micro_tokens=micro_tokens, share=share)
                    terms, forest_tokens = terms | own, forest_tokens + tokens
                    earlier += [unit[0].example for unit in rows] if rows is not units else []
                penalty: Any = keeping.penalty(model)
                if penalty is not None:
                    penalty.backward()
                    added += float(penalty.detach())
                total += added
                metrics[f"loss_{name}"] = added
            self.read = {"earlier": earlier} if earlier else {}
            return total, terms, forest_tokens, metrics

        return whole
