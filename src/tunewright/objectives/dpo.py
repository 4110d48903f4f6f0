"""Direct preference optimisation: prefer the better of two answers, without a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tunewright.core.parts import Loss
from tunewright.objectives._pairs import Pairs, by_answer, figures, lengths

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Dpo(Pairs):
    """Makes the chosen answer likelier against the rejected one than the reference has it (Rafailov et al. 2023, arXiv
    2305.18290, eq. 7).

    Needs messages and rejected. An answer's reward is beta times how much likelier it has become, in nats. loss_type:
    `sigmoid`, with `smoothing` as in cDPO (Mitchell 2023); `robust` (Chowdhury et al. 2024, arXiv 2403.00409, eq. 13);
    `hinge` (SLiC, Zhao et al. 2023, arXiv 2305.10425); `ipo` (Azar et al. 2023, arXiv 2310.12036, eq. 17, on the mean
    log-prob of each answer's tokens). Neighbours: kto (answers judged one by one), orpo and simpo (no reference), sft.
    """

    uses_reference: ClassVar[bool] = True
    fits_encoder_decoders: ClassVar[bool] = True

    beta: float = Field(
        0.1, gt=0, description="How strongly the reference holds: lower moves further away from it, and learns more."
    )
    loss_type: Literal["sigmoid", "ipo", "hinge", "robust"] = Field(
        "sigmoid",
        description="'sigmoid' is DPO; 'ipo' stops at a fixed margin; 'hinge' leaves clear pairs alone; 'robust' "
        "undoes the bias of wrong pairs.",
    )
    smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="Share of the pairs thought to be the wrong way round: calmer on noisy pairs; for sigmoid, robust.",
    )

    @model_validator(mode="after")
    def _smoothing_is_used(self) -> Self:
        if self.smoothing and self.loss_type not in ("sigmoid", "robust"):
            raise ValueError(f"smoothing has no meaning with loss_type '{self.loss_type}': leave it out")
        return self

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The loss summed over pairs."""
        assert model.reference is not None, "the loop puts it there"
        return self.compared(model.logprobs(forest), model.reference.logprobs(forest), forest.rows)

    def compared(self, logp_R: torch.Tensor, reference_R: torch.Tensor, rows: Sequence[Row]) -> Loss:
        """The loss summed over pairs, from the log-probs of their rows under the model and under the reference."""
        chosen, rejected = by_answer(logp_R - reference_R, rows)
        if self.loss_type == "ipo":
            num_chosen, num_rejected = lengths(logp_R, rows)
            loss_P = (chosen / num_chosen - rejected / num_rejected - 1 / (2 * self.beta)).square()
        else:
            loss_P = self._of(self.beta * (chosen - rejected))
        return Loss({self.kind: (loss_P.sum(), 1.0)}, figures(self.beta * chosen, self.beta * rejected))

    def _of(self, margin_P: torch.Tensor) -> torch.Tensor:
        """The loss of each pair from the distance of its rewards."""
        from torch.nn.functional import logsigmoid

        if self.loss_type == "hinge":
            return (1 - margin_P).relu()
        right, wrong = -logsigmoid(margin_P), -logsigmoid(-margin_P)
        if self.loss_type == "robust":
            return ((1 - self.smoothing) * right - self.smoothing * wrong) / (1 - 2 * self.smoothing)
        return (1 - self.smoothing) * right + self.smoothing * wrong
