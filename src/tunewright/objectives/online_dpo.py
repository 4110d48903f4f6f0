"""Online direct preference optimisation: the model's own answers, ranked by the reward, make the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from tunewright.core.parts import Loss
from tunewright.objectives import _on_policy
from tunewright.objectives._on_policy import Answer, OnPolicy
from tunewright.objectives._pairs import CHOSEN, REJECTED, num_pairs
from tunewright.objectives.dpo import Dpo

if TYPE_CHECKING:
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class OnlineDpo(OnPolicy):
    """Samples answers to each prompt, takes the best and the worst by the reward as a pair, and learns it as `dpo` does
    (Guo et al. 2024, arXiv 2402.04792, algorithm 1). Answers that are all worth the same make no pair.

    Needs messages; their last assistant message is what graders compare with, and is not learned. Neighbours: `dpo` for
    pairs that were judged before; `grpo` uses how much better an answer is, not only which one.
    """

    group: int = Field(2, ge=1, description="answers to each prompt; more find a pair oftener and cost sampling")
    beta: float = Field(
        0.1, gt=0, description="how strongly the reference holds: lower moves further away from it, and learns more"
    )
    loss_type: Literal["sigmoid", "ipo", "hinge"] = Field(
        "sigmoid", description="as in dpo: 'ipo' stops at a fixed margin; 'hinge' leaves clear pairs alone"
    )

    @field_validator("group")
    @classmethod
    def _compares(cls, group: int) -> int:
        if group < 2:
            raise ValueError("a single answer makes no pair; sample 2 or more")
        return group

    @property
    def repeats(self) -> int:
        """The two answers of a pair, each learned `updates` times."""
        return 2 * self.updates

    def learned(
        self, model: TunableModel, groups: Sequence[Sequence[Answer]], **options: Any
    ) -> tuple[list[list[Row]], dict[str, float]]:
        """A unit for each pair, its rows knowing their log-probs under the reference."""
        units: list[list[Row]] = []
        for group in groups:
            best, worst = (choose(group, key=lambda answer: answer.reward) for choose in (max, min))
            if best.reward > worst.reward:
                units.append([best.row(CHOSEN), worst.row(REJECTED)])
        units = _on_policy.with_reference(model, units, 1.0, **options)
        return units, {"even_groups": 1 - len(units) / len(groups)}

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The pairs."""
        return {"dpo": num_pairs(rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The loss of `dpo` summed over pairs. Rows that were not sampled have no worse answer beside them: they count
        by their negative log-prob, the direction in which a better answer is learned.
        """
        logp_R = model.logprobs(forest)
        reference_E = _on_policy.extra(forest, "reference")
        if reference_E is None:
            return Loss({"dpo": (-logp_R.sum(), 1.0)})
        reference_R = reference_E.new_zeros(len(forest.rows)).index_add(0, forest.entry_row_E, reference_E)
        found = Dpo(beta=self.beta, loss_type=self.loss_type).compared(logp_R, reference_R, forest.rows)
        (terms,) = found.terms.values()
        return Loss({"dpo": terms}, found.metrics)
