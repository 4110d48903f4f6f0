"""SimPO: prefer the better of two answers by their mean log-prob, without a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.parts import Loss
from tunewright.objectives._pairs import Pairs, by_answer, figures, lengths

if TYPE_CHECKING:
    from tunewright.models.forest import Forest
    from tunewright.models.tunable import TunableModel


class Simpo(Pairs):
    """Makes the chosen answer's mean log-prob lead by a margin: -log sigmoid(beta (mean chosen - mean rejected) -
    gamma) (Meng et al. 2024, arXiv 2405.14734, eq. 6).

    gamma stands outside beta, as in the paper. Needs messages and rejected. An answer's reward is beta times its mean
    log-prob. Nothing holds the model back but the learning rate: keep it small. Neighbours: dpo (holds on to a
    reference), orpo (learns the chosen answer as well).
    """

    rate_share: ClassVar[float] = 0.03

    beta: float = Field(2.5, gt=0, description="Scale of the rewards: higher is surer of each pair and learns sooner.")
    gamma: float = Field(
        1.375, ge=0, description="The lead the chosen answer must have, in rewards: higher pushes pairs further apart."
    )

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The loss summed over pairs."""
        from torch.nn.functional import logsigmoid

        logp_R = model.logprobs(forest)
        chosen, rejected = by_answer(logp_R, forest.rows)
        num_chosen, num_rejected = lengths(logp_R, forest.rows)
        chosen, rejected = self.beta * chosen / num_chosen, self.beta * rejected / num_rejected
        loss_P = -logsigmoid(chosen - rejected - self.gamma)
        return Loss({self.kind: (loss_P.sum(), 1.0)}, figures(chosen, rejected))
