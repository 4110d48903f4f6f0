"""What the objectives share that learn the answers of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Objective

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Row


class Answers(Objective):
    """A row for each assistant turn, so that it is trained on exactly what serving will send."""

    needs: ClassVar[tuple[str, ...]] = ("messages",)
    fits_encoder_decoders: ClassVar[bool] = True

    learn: str = Field(
        "answers",
        pattern="^(answers|last|all)$",
        description="'answers' of the assistant, only the 'last' one, or 'all' tokens.",
    )

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
