"""What the objectives share whose head reads one text a row: which hidden state it reads, and the row itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tunewright.core.parts import Objective

if TYPE_CHECKING:
    from tunewright.core.example import Example
    from tunewright.models.chat import Chat
    from tunewright.models.forest import Row

Pool = Literal["auto", "last", "mean", "first"]


class OneText(Objective):
    """A row is what a release is asked with; its last token carries the weight."""

    needs: ClassVar[tuple[str, ...]] = ("messages", "label")
    fits_encoders: ClassVar[bool] = True

    pool: Pool = Field(
        "auto",
        description="The hidden state that the head reads: 'last' token (causal models), 'mean' of all or 'first' "
        "token (encoders); 'auto': last, or mean for encoders.",
    )

    def row(self, example: Example, chat: Chat, max_tokens: int, target: Iterable[float]) -> list[Row]:
        """The row with this target, or none where it is too long; an encoder's text loses its end instead."""
        from tunewright.models.forest import Row

        whole = self.question(example, chat)
        items = chat.shortened(whole, max_tokens)
        if items is None:
            return []
        weights = [0.0] * (len(items) - 1) + [1.0]
        return [Row(items, weights, example.id, cut=len(items) < len(whole), target=tuple(target))]

    def pool_for(self, facts: Any) -> Pool:
        """The hidden state for this kind of model. Raises RecipeError when the chosen one knows too little."""
        from tunewright.core.errors import RecipeError

        encoder = bool(facts.get("encoder"))
        if self.pool == "auto":
            return "mean" if encoder else "last"
        if encoder and self.pool == "last":
            raise RecipeError(
                "objective.pool: the last token of an encoder's text only ends it. Use 'mean' or 'first'."
            )
        if not encoder and self.pool == "first":
            raise RecipeError(
                "objective.pool: the first token of a causal model has seen nothing of the text. Use 'last' or 'mean'."
            )
        return self.pool
