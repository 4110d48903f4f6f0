"""back_translation: a model translates the user's message into another language and back."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._asking import reworded


class BackTranslation(Edit):
    """The user's last message, there and back again through another language, by a model. The answer stays.

    Costs two questions a row. Sennrich et al. 2016 (arXiv 1511.06709) for translation; as a paraphrase: Xie et al. 2020
    (arXiv 1904.12848). Neighbours: `paraphrase` (one question, freer).
    """

    num_questions: ClassVar[int] = 2

    through: list[str] = Field(
        ["French", "German", "Spanish"], min_length=1, description="languages; one is drawn for each row"
    )
    language: str = Field("English", description="the language of the messages")

    def question(self, text: str, replies: Sequence[str], draw: Random) -> list[dict[str, Any]]:
        """Translate there, then back."""
        other = draw.choice(self.through)
        into, said = (self.language, replies[-1]) if replies else (other, text)
        rules = (
            f"Translate the user's message into {into}. Do not answer it. Keep every name, number and placeholder. "
            "Reply with the translation alone."
        )
        return [{"role": "system", "content": rules}, {"role": "user", "content": said}]

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """The second translation in the place of the message."""
        return reworded(texts[-1], replies[-1])
