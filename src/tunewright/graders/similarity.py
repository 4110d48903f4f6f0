"""similarity: how near the answer's meaning is to the expected one's, by an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader


class Similarity(Grader):
    """Cosine of the vectors of the answer and the expected text, negative ones as 0; the value is the mean.

    Needs the expected answer, and an encoder: the mean of its last hidden states (Reimers and Gurevych 2019, arXiv
    1908.10084). Texts that mean opposites are near for most encoders: it tells topic rather than truth. Neighbours:
    `fuzzy`, letter by letter; `rouge`, `chrf`.
    """

    paths: ClassVar[tuple[str, ...]] = ("encoder",)

    encoder: str = Field(description="an encoder: its folder (a merged release is one), or its Hub id")

    def grade(self, example: Example, answer: str) -> Grade:
        """The cosine; many at once are cheaper."""
        return self._graded([example], [answer])[0]

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> list[Grade]:
        """All cosines, the encoder opened once."""
        return self._graded(examples, answers, desk)

    def _graded(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk | None = None) -> list[Grade]:
        from tunewright.models.text_vectors import text_vectors

        texts = list(dict.fromkeys([*answers, *(example.answer or "" for example in examples)]))
        poll = (lambda done: desk.poll("texts", done, len(texts))) if desk else (lambda done: None)
        vector = dict(zip(texts, text_vectors(self.encoder, texts, poll), strict=True))
        return [
            Grade(score=min(1.0, max(0.0, float(vector[answer] @ vector[example.answer or ""]))))
            for example, answer in zip(examples, answers, strict=True)
        ]
