"""ORPO: learn the better answer and the difference to the worse one at once, without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.parts import Loss
from tunewright.objectives._pairs import Pairs, by_answer, figures, lengths, num_pairs

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Orpo(Pairs):
    """Learns the chosen answer, and pushes its odds above those of the rejected one (Hong et al. 2024, arXiv
    2403.07691, eq. 6 and 7).

    Needs messages and rejected. Both terms work on the mean log-prob of an answer's tokens; the first is sft in which
    each answer counts once. So it begins from a base, where dpo wants a model that answers already. An answer's reward
    is the weight times its mean log-prob. Neighbours: sft, dpo, simpo.
    """

    after_sft: ClassVar[bool] = False
    rate_share: ClassVar[float] = 0.3
    usual_epochs: ClassVar[float | None] = None

    weight: float = Field(
        0.1,
        gt=0,
        description="Weight of the odds beside the chosen answer (lambda): higher shuns rejected answers more.",
    )

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The pairs, for both terms."""
        return dict.fromkeys(("nll", "odds"), num_pairs(rows))

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed over pairs: mean negative log-prob of the chosen answer, and -log sigmoid of the log odds ratio."""
        from torch.nn.functional import logsigmoid

        logp_R = model.logprobs(forest)
        chosen, rejected = by_answer(logp_R, forest.rows)
        num_chosen, num_rejected = lengths(logp_R, forest.rows)
        chosen, rejected = chosen / num_chosen, rejected / num_rejected
        odds_P = chosen - rejected - (_log_other(chosen) - _log_other(rejected))
        terms = {"nll": (-chosen.sum(), 1.0), "odds": (-logsigmoid(odds_P).sum(), self.weight)}
        return Loss(terms, figures(self.weight * chosen, self.weight * rejected))


def _log_other(logp: torch.Tensor) -> torch.Tensor:
    """log(1 - p) from log p, without loss of digits at either end (Maechler 2012)."""
    import torch

    # both branches are kept inside their own range: a gradient that is not finite would spoil the one taken
    near = (-torch.expm1(logp.clamp(-0.6931, -1e-7))).log()
    far = torch.log1p(-logp.clamp(max=-0.6931).exp())
    return torch.where(logp > -0.6931, near, far)
