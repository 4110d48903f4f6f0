"""A reward model: a number for an answer, higher for the better one of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Head, Loss, Objective

if TYPE_CHECKING:
    import torch

    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Reward(Objective):
    """Learns a reward r from comparisons: -log sigmoid(r(chosen) - r(rejected) - margin), the mean over pairs.

    Needs messages and rejected (data.format: preference). Bradley-Terry, as in Ouyang et al. 2022 (arXiv 2203.02155,
    eq. 1); margin: Touvron et al. 2023 (arXiv 2307.09288, eq. 2). The head reads the token that ends an answer; both
    answers of a pair stand behind one prompt. Rewards are known up to a constant. Neighbours: classify, where single
    answers are marked good or bad.
    """

    needs: ClassVar[tuple[str, ...]] = ("messages", "rejected")
    rate_share: ClassVar[float] = 0.1  # at the whole rate nothing is learned of pairs (docs/results.md)

    margin: str | None = Field(
        None,
        description="Column of the rows that tells by how much the chosen answer is better; no margin if left out.",
    )

    @property
    def head(self) -> Head:
        """One number; a bias would cancel out."""
        return Head(1, "reward", bias=False)

    @property
    def figure(self) -> str | None:
        """The share of pairs whose chosen answer gets more."""
        return "pair_accuracy"

    @property
    def fitting_graders(self) -> list[str | dict[str, Any]] | None:
        """There is no answer to grade."""
        return []

    def decoding(self) -> dict[str, Any]:
        """The reward of the conversation's last answer, as text."""
        return {"kind": "reward"}

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """The chosen answer (slot 0) and the rejected one (slot 1); none where one of them is too long."""
        from tunewright.models.forest import Row

        margin = self._margin(example.meta)
        rows = []
        for slot, turn in enumerate((chat.chosen_turns(example)[-1], chat.rejected_turns(example)[-1])):
            items = [*turn.prompt, *turn.answer]
            if len(items) > max_tokens:
                return []
            rows.append(Row(items, [0.0] * (len(items) - 1) + [1.0], example.id, slot=slot, target=(margin,)))
        return rows

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The pairs."""
        return {"pair": sum(row.slot == 0 for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed negative log-likelihood (nats) of the comparisons."""
        import torch
        from torch.nn import functional

        ahead_P, pairs = self._ahead(model, forest)
        margin_P = torch.tensor([pair[0].target[0] for pair in pairs], dtype=ahead_P.dtype, device=ahead_P.device)
        return Loss({"pair": (-functional.logsigmoid(ahead_P - margin_P).sum(), 1.0)})

    def right(self, model: TunableModel, forest: Forest) -> dict[str, float]:
        """Whether the chosen answer has the higher reward."""
        ahead_P, pairs = self._ahead(model, forest)
        signs = ahead_P.sign().tolist()
        return {pair[0].example: 0.5 + sign / 2 for pair, sign in zip(pairs, signs, strict=True)}

    def _ahead(self, model: TunableModel, forest: Forest) -> tuple[torch.Tensor, list[tuple[Row, Row]]]:
        """By how much the chosen answer of each pair (P) is ahead."""
        places = {(row.example, row.slot): number for number, row in enumerate(forest.rows)}
        first = [row.example for row in forest.rows if row.slot == 0]
        chosen, rejected = ([places[example, slot] for example in first] for slot in (0, 1))
        reward_R = model.outputs(forest)[:, 0]
        pairs = [(forest.rows[one], forest.rows[other]) for one, other in zip(chosen, rejected, strict=True)]
        return reward_R[chosen] - reward_R[rejected], pairs

    def _margin(self, meta: Mapping[str, Any]) -> float:
        from tunewright.core.errors import DataError

        if self.margin is None:
            return 0.0
        try:
            return float(meta[self.margin])
        except (KeyError, TypeError, ValueError):
            found = f"'{meta[self.margin]}'" if self.margin in meta else f"only {', '.join(meta) or 'no column'}"
            raise DataError(
                f"objective.margin: every row needs a number in the column '{self.margin}', found {found}. Correct the "
                "rows, or leave margin out."
            ) from None
