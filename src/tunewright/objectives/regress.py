"""Regression with a head: a number for each text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Head, Loss
from tunewright.objectives._one_text import OneText

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Regress(OneText):
    """Learns the number that a text is labelled with: mean squared error of the standardised number.

    Needs messages and a label that is a number. Numbers are learned as (number - mean) / std of the training rows, so
    that a loss of 1 is what always answering the mean would give. Neighbours: classify (a few fixed values).
    """

    mean: float | None = Field(None, description="What is subtracted; the mean of the training rows when left out.")
    std: float | None = Field(
        None, gt=0, description="What is divided by; the standard deviation of the training rows when left out."
    )

    @property
    def asks_base(self) -> bool:
        """The untuned model has no number to give."""
        return False

    @property
    def head(self) -> Head:
        """One number."""
        return Head(1, "regress", pool="last" if self.pool == "auto" else self.pool)

    @property
    def fitting_graders(self) -> list[str | dict[str, Any]] | None:
        """How much of the numbers' variance is explained."""
        return ["regression"]

    def fitted(self, facts: Mapping[str, Any]) -> Regress:
        """With mean and standard deviation of the training rows, and the hidden state to read."""
        from tunewright.core.errors import DataError

        labels = facts.get("labels") or {}
        counted = [(_number(text), sides["train"]) for text, sides in labels.items() if sides["train"]]
        total = sum(count for _, count in counted)
        if not total:
            raise DataError(
                "Objective 'regress' needs a number as the label of every row, and the data tells no labels. Bring "
                "rows of text and label (data.format: labels), or use the objective 'sft'."
            )
        mean = sum(number * count for number, count in counted) / total
        std = math.sqrt(sum((number - mean) ** 2 * count for number, count in counted) / total)
        if std == 0:
            raise DataError(f"All training rows have the number {mean:g}: there is nothing to learn.")
        return self.model_copy(
            update={
                "mean": float(f"{mean:.8g}") if self.mean is None else self.mean,
                "std": float(f"{std:.8g}") if self.std is None else self.std,
                "pool": self.pool_for(facts),
            }
        )

    def decoding(self) -> dict[str, Any]:
        """The number as text."""
        return {"kind": "regress", "mean": self.mean, "std": self.std}

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """One row. Raises DataError where the label is no number."""
        assert self.mean is not None and self.std is not None, "choose fills them"
        return self.row(example, chat, max_tokens, [(_number(example.label or "") - self.mean) / self.std])

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The rows."""
        return {"mse": len(rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed squared error of the standardised numbers."""
        import torch

        made_R = model.outputs(forest)[:, 0]
        wanted_R = torch.tensor([row.target[0] for row in forest.rows], dtype=made_R.dtype, device=made_R.device)
        return Loss({"mse": ((made_R - wanted_R).square().sum(), 1.0)})


def _number(text: str) -> float:
    from tunewright.core.errors import DataError

    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"Objective 'regress' needs a number as the label of every row, found '{text[:60]}'. Correct the rows, or "
            "use the objective 'classify'."
        )
    return number
