"""Distillation: say what a larger model would say, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.parts import Loss
from tunewright.objectives._answers import Answers

if TYPE_CHECKING:
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Distill(Answers):
    """Learns a teacher's distribution over the next token at every learned token, mixed with the answers themselves.

    Hinton et al. 2015 (arXiv 1503.02531, section 2, with its factor T^2). Needs messages, and a teacher with the same
    tokenizer. An imitated style is not knowledge: what the teacher knows and the rows do not show is not passed on
    (Gudibande et al. 2023, arXiv 2305.15717). Neighbours: sft (answers alone; also on answers that a teacher wrote).
    """

    paths: ClassVar[tuple[str, ...]] = ("teacher",)

    teacher: str = Field(description="The model to learn from: a run, a release, a folder or a Hub id.")
    temperature: float = Field(2.0, gt=0, description="Softens both distributions: higher shows more of the unlikely.")
    mix: float = Field(0.5, ge=0, le=1, description="Share of the loss on the answers themselves; 0: none.")

    @property
    def others(self) -> dict[str, str]:
        """The teacher."""
        return {"teacher": self.teacher}

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The learned tokens."""
        return {"distilled": sum(row.num_learned for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed over learned tokens; the metrics tell nll and divergence apart."""
        total, nll, divergence = model.distilled_sum(
            forest, model.others["teacher"], temperature=self.temperature, mix=self.mix
        )
        count = forest.num_learned
        parts = {"nll": (float(nll), count), "divergence": (float(divergence), count)}
        return Loss({"distilled": (total, 1.0)}, parts)
