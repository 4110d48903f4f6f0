"""Proximal policy optimisation: a learned value tells which tokens of an answer earned its reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewright.core.parts import Head, Loss
from tunewright.objectives import _on_policy, _policy
from tunewright.objectives._on_policy import Answer, OnPolicy

if TYPE_CHECKING:
    import torch

    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel

TINY = 1e-8


class Ppo(OnPolicy):
    """Raises the likelihood of tokens that led to more reward than a value head expected before them (Schulman et al.
    2017, arXiv 1707.06347, eq. 7; advantages by arXiv 1506.02438, eq. 16). The reward pays for the whole answer, less a
    price for each token that strays from the reference (Ouyang et al. 2022, arXiv 2203.02155, eq. 2).

    Needs messages; their last assistant message is what graders compare with, and is not learned. The value is a second
    head on the trained net, kept in checkpoints and of no use afterwards. Neighbour: `grpo` compares a group of answers
    instead, needs no value, and is easier to set.
    """

    group: int = Field(
        1, ge=1, description="answers to each prompt; one is usual, more steady a small batch of prompts"
    )
    updates: int = Field(
        4, ge=1, description="gradient steps on what was sampled; more save sampling, and stray from the policy"
    )
    clip: float = Field(0.2, gt=0, lt=1, description="how far the ratio to the sampling policy pays")
    kl: float = Field(
        0.05, ge=0, description="price of each nat that a token strays from the reference; 0 needs none, and drifts"
    )
    value_weight: float = Field(0.1, ge=0, description="what the value's error counts for beside the policy")
    value_clip: float = Field(0.2, gt=0, description="how far a value may usefully move in one round")
    discount: float = Field(1.0, gt=0, le=1, description="what later rewards are worth; 1 as answers are short")
    smoothing: float = Field(
        0.95, ge=0, le=1, description="GAE's lambda: 1 trusts rewards alone (noisy), 0 the value alone (biased)"
    )
    whiten: bool = Field(
        True, description="advantages of a round get mean 0 and spread 1; steps don't hang on the scale"
    )

    @property
    def head(self) -> Head:
        """The value."""
        return Head(outputs=1, name="value", pool="tokens")

    def learned(
        self, model: TunableModel, groups: Sequence[Sequence[Answer]], **options: Any
    ) -> tuple[list[list[Row]], dict[str, float]]:
        """Each answer a unit, with the advantage, the return, the value and the log-prob of each of its tokens."""
        units = [[one.row(slot, reward=one.reward)] for group in groups for slot, one in enumerate(group)]

        def compute(forest: Forest) -> dict[str, torch.Tensor]:
            logp_E, value_E = self._both(model, forest)
            return {"old": logp_E, "value": value_E}

        units = _on_policy.with_extra(model, units, compute, **options)
        if self.kl > 0:
            units = _on_policy.with_reference(model, units, self.temperature, **options)
        rows, strayed = self._credited([row for unit in units for row in unit])
        return [[row] for row in rows], strayed

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The tokens of all answers."""
        return dict.fromkeys(("policy", "value"), sum(row.num_learned for row in rows))

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """The clipped objective and the value's clipped error of each token. A row that knows no advantage counts as an
        answer of advantage 1 and return 0, sampled by the model as it is.
        """
        logp_E, value_E = self._both(model, forest)
        told = {name: _on_policy.extra(forest, name) for name in ("advantage", "old", "value", "return")}
        advantage_E, old_E, before_E, return_E = told.values()
        policy_E, clipped_E = _policy.clipped(
            logp_E,
            logp_E.detach() if old_E is None else old_E,
            logp_E.new_ones(()) if advantage_E is None else advantage_E,
            low=self.clip,
            high=self.clip,
        )
        error_E = _policy.value_loss(
            value_E,
            value_E.detach() if before_E is None else before_E,
            value_E.new_zeros(()) if return_E is None else return_E,
            clip=self.value_clip,
        )
        num = float(len(clipped_E))
        return Loss(
            {"policy": (policy_E.sum(), 1.0), "value": (error_E.sum(), self.value_weight)},
            {"clipped": (float(clipped_E.sum()), num), "value_loss": (float(error_E.detach().sum()), num)},
        )

    def _both(self, model: TunableModel, forest: Forest) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-prob of each entry, and the value before it: E and E."""
        from tunewright.models.heads import head_of

        hidden_KD = model.hidden(forest, wanted=forest.from_K)
        logp_K = model.logprobs_from(hidden_KD, forest, temperature=self.temperature)
        value_K = head_of(model.net)(hidden_KD)[:, 0]
        return logp_K.index_select(0, forest.entry_K), value_K.index_select(0, forest.entry_K)

    def _credited(self, rows: Sequence[Row]) -> tuple[list[Row], dict[str, float]]:
        """The rows with each token's advantage and return, and how far tokens strayed from the reference (nats)."""
        import torch

        credited: list[tuple[torch.Tensor, torch.Tensor]] = []
        strayed: list[torch.Tensor] = []
        for row in rows:
            assert row.extra is not None
            told = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.extra.items()}
            gaps_T = told["old"] - told["reference"] if self.kl > 0 else torch.zeros_like(told["old"])
            rewards_T = -self.kl * gaps_T
            rewards_T[-1] += told["reward"]
            found_T = _policy.gae(rewards_T, told["value"], discount=self.discount, smoothing=self.smoothing)
            credited.append((found_T, found_T + told["value"]))
            strayed.append(gaps_T)
        every = torch.cat([advantage_T for advantage_T, _ in credited])
        mean, spread = (every.mean(), every.std() + TINY) if self.whiten and len(every) > 1 else (0.0, 1.0)
        learned = [
            replace(
                row,
                extra={
                    **(row.extra or {}),
                    "advantage": tuple(((advantage_T - mean) / spread).tolist()),
                    "return": tuple(return_T.tolist()),
                },
            )
            for row, (advantage_T, return_T) in zip(rows, credited, strict=True)
        ]
        return learned, {"kl": float(torch.cat(strayed).mean())} if self.kl > 0 else {}
