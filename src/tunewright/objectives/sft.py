"""Supervised fine-tuning: say what the answers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tunewright.core.parts import Loss
from tunewright.objectives._answers import Answers

if TYPE_CHECKING:
    from tunewright.models.forest import Forest
    from tunewright.models.tunable import TunableModel


class Sft(Answers):
    """Learns every assistant turn given what came before it: mean negative log-prob over all learned tokens of a step.

    Needs messages with at least one assistant message of weight above 0. Each turn is a row of its own, so that it is
    trained on exactly what serving will send. NEFTune: Jain et al. 2023 (arXiv 2310.05914). Neighbours: pretrain (plain
    documents), and preference objectives where only a comparison of answers is known.
    """

    smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Label smoothing: share of probability spread over the vocabulary; calmer, less sure.",
    )
    noise: float = Field(
        0.0, ge=0, description="NEFTune: uniform noise on embeddings while training, e.g. 5; longer, richer answers."
    )

    @property
    def draws(self) -> bool:
        """NEFTune draws."""
        return self.noise > 0

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed negative log-prob of the learned tokens; beside it the share of them that the model would say."""
        nll, right = model.loss_and_right(forest, smoothing=self.smoothing, noise=self.noise)
        accuracy = (float(right), float(forest.weight_K.sum()))
        return Loss({"nll": (nll, 1.0)}, {"token_accuracy": accuracy})
