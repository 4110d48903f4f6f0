"""paraphrase: a model says the user's message in other words."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._asking import reworded

_MANNERS = (
    "in your own words", "more briefly", "more politely", "in plain everyday language", "as a quick chat message",
    "more formally", "with other words and another order",
)  # fmt: skip


class Paraphrase(Edit):
    """The user's last message in other words, by a model (`endpoint` or `model`). The answer stays.

    A model that is as good as the one that is tuned, or better, is needed; look at some rows before training on them.
    Neighbours: `back_translation` (stays nearer to the words), `synonyms` (asks nobody).
    """

    num_questions: ClassVar[int] = 1

    style: str | None = Field(None, description="how to say it, e.g. 'like an angry customer'; drawn when left out")

    def question(self, text: str, replies: Sequence[str], draw: Random) -> list[dict[str, Any]]:
        """What the model is asked."""
        manner = self.style or draw.choice(_MANNERS)
        rules = (
            f"Say the user's message again {manner}. Keep its language, what it asks for, and every name, number and "
            "fact. Do not answer it. Reply with the new message alone."
        )
        return [{"role": "system", "content": rules}, {"role": "user", "content": text}]

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """The reply in the place of the message."""
        return reworded(texts[-1], replies[-1])
