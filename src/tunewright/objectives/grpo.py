"""Group relative policy optimisation: answers that beat the others to the same prompt become likelier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from tunewright.core.parts import Loss
from tunewright.objectives import _on_policy, _policy
from tunewright.objectives._on_policy import Answer, OnPolicy

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Grpo(OnPolicy):
    """Samples a group of answers to each prompt and raises the likelihood of those rewarded above their group's mean
    (Shao et al. 2024, arXiv 2402.03300, eq. 3-4), near the reference by a KL penalty.

    Needs messages; their last assistant message is what graders compare with, and is not learned. Dr. GRPO (Liu et al.
    2025, arXiv 2503.20783): `advantage: dr_grpo, per: constant`. RLOO (Ahmadian et al. 2024, arXiv 2402.14740):
    `advantage: rloo`. Neighbours: `ppo` learns a value instead of comparing a group; `online_dpo` only ranks two
    answers; `sft` where right answers are at hand.
    """

    group: int = Field(8, ge=1, description="answers to each prompt; more steady the comparison and cost sampling")
    advantage: Literal["grpo", "dr_grpo", "rloo"] = Field(
        "grpo", description="'grpo' divides by the group's spread; 'dr_grpo' and 'rloo' don't, and weigh no prompt more"
    )
    per: Literal["sequence", "token", "constant"] = Field(
        "sequence",
        description="each answer counts once, each token once ('token': long answers weigh more), or each token by "
        "1 / max_new_tokens ('constant': no length is favoured)",
    )
    clip: float = Field(0.2, gt=0, lt=1, description="how far the ratio to the sampling policy pays when it falls")
    clip_high: float | None = Field(
        None, gt=0, description="how far when it rises; `clip` when left out, more keeps the answers varied"
    )
    beta: float = Field(
        0.04, ge=0, description="pull towards the reference (KL); 0 needs none and is faster, and drifts further"
    )

    @field_validator("group")
    @classmethod
    def _compares(cls, group: int) -> int:
        if group < 2:
            raise ValueError(
                "a single answer has nothing to be compared with, so its advantage is always 0; sample 2 or more, or "
                "use 'ppo'"
            )
        return group

    def learned(
        self, model: TunableModel, groups: Sequence[Sequence[Answer]], **options: Any
    ) -> tuple[list[list[Row]], dict[str, float]]:
        """Each answer a unit, with its advantage; log-probs when sampled and of the reference where the loss needs
        them.
        """
        import torch

        units: list[list[Row]] = []
        even = 0
        for group in groups:
            worth = torch.tensor([answer.reward for answer in group], dtype=torch.float64)
            even += bool((worth == worth[0]).all())
            for slot, one in enumerate(_policy.group_advantages(worth, self.advantage).tolist()):
                units.append([group[slot].row(slot, advantage=one)])
        if self.updates > 1:  # in a single step the log-probs when sampled are the step's own
            units = _on_policy.with_old(model, units, self.temperature, **options)
        if self.beta > 0:
            units = _on_policy.with_reference(model, units, self.temperature, **options)
        return units, {"even_groups": even / len(groups)}

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """Answers, or their tokens where each token counts alike."""
        tokens = sum(row.num_learned for row in rows)
        return dict.fromkeys(("policy", "kl"), tokens if self.per == "token" else float(len(rows)))

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The clipped objective and the KL penalty of each token, weighed as `per` says. A row that knows no advantage
        counts as an answer of advantage 1, sampled by the model as it is.
        """
        logp_E = _on_policy.logprobs(model, forest, self.temperature)
        advantage_E, old_E = _on_policy.extra(forest, "advantage"), _on_policy.extra(forest, "old")
        share_E = self._shares(forest)
        policy_E, clipped_E = _policy.clipped(
            logp_E,
            logp_E.detach() if old_E is None else old_E,
            logp_E.new_ones(()) if advantage_E is None else advantage_E,
            low=self.clip,
            high=self.clip_high or self.clip,
        )
        terms = {"policy": ((policy_E * share_E).sum(), 1.0)}
        metrics = {"clipped": (float(clipped_E.sum()), float(len(clipped_E)))}
        reference_E = _on_policy.extra(forest, "reference")
        if reference_E is not None:
            kl_E = _policy.k3(logp_E, reference_E)
            terms["kl"] = ((kl_E * share_E).sum(), self.beta)
            metrics["kl"] = (float(kl_E.detach().sum()), float(len(kl_E)))
        return Loss(terms, metrics)

    def _shares(self, forest: Forest) -> torch.Tensor:
        """What each entry counts for, E."""
        import torch

        if self.per == "sequence":
            lengths = torch.tensor(_on_policy.lengths(forest), device=forest.device)
            return (1.0 / lengths.double()).index_select(0, forest.entry_row_E).float()
        share = 1.0 if self.per == "token" else 1.0 / self.max_new_tokens
        return torch.full((len(forest.entry_row_E),), share, device=forest.device)
