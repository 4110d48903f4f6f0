"""Supervised fine-tuning: say what the answers say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Loss, Objective

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Forest, Row
    from tunewright.models.tunable import TunableModel


class Sft(Objective):
    """Learns every assistant turn given what came before it: mean negative log-prob over all learned tokens of a step.

    Needs messages with at least one assistant message of weight above 0. Each turn is a row of its own, so that it is
    trained on exactly what serving will send. NEFTune: Jain et al. 2023 (arXiv 2310.05914). Neighbours: pretrain (plain
    documents), and preference objectives where only a comparison of answers is known.
    """

    needs: ClassVar[tuple[str, ...]] = ("messages",)

    learn: str = Field(
        "answers",
        pattern="^(answers|last|all)$",
        description="'answers' of the assistant, only the 'last' one, or 'all' tokens.",
    )
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

    def encode(self, example: Example, chat: Chat, *, max_tokens: int) -> list[Row]:
        """One row a turn; a row that is too long loses the end of its answer, or is left out when the prompt fills
        it.
        """
        from tunewright.models.forest import Row

        turns = chat.turns(example)
        rows = []
        for slot, turn in enumerate(turns[-1:] if self.learn == "last" else turns):
            whole = [*turn.prompt, *turn.answer]
            items = whole[:max_tokens]
            before = 1.0 if self.learn == "all" else 0.0
            weights = [0.0, *[before] * (len(turn.prompt) - 1), *[turn.weight] * len(turn.answer)][: len(items)]
            if len(items) > len(turn.prompt):
                rows.append(Row(items, weights, example.id, slot=slot, cut=len(items) < len(whole)))
        return rows

    def counts(self, rows: Sequence[Row]) -> dict[str, float]:
        """The learned tokens."""
        return {"nll": sum(row.num_learned for row in rows)}

    def loss(self, model: TunableModel, forest: Forest) -> Loss:
        """Summed negative log-prob of the learned tokens."""
        return Loss({"nll": (model.loss_sum(forest, smoothing=self.smoothing, noise=self.noise), 1.0)})
