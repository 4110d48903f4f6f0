"""perplexity: how likely the contestant's model finds the expected answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader, LogProb

if TYPE_CHECKING:
    import numpy as np


class Perplexity(Grader):
    """The value is 1 / perplexity of the expected answers: exp of the mean log-prob of their tokens, over all rows.

    Needs the expected answer, and a contestant whose model runs here and says texts. Each token counts once, the end of
    turn among them, after exactly what the contestant was sent. What it answered is not looked at. Perplexity itself is
    told beside. Figures of models with different tokenizers cannot be compared: their nats per character can, which is
    told too. A row that does not fit the model's context is left out of the value. Source: Jelinek et al. 1977.
    Neighbour: `choice`, which weighs several answers.
    """

    needs_model: ClassVar[bool] = True

    def grade(self, example: Example, answer: str) -> Grade:
        """Raises DataError: a text alone does not tell what a model finds likely."""
        raise DataError("Grader 'perplexity' asks the contestant's model: it has a place in evaluate.graders alone.")

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> list[Grade | None]:
        """exp of the mean log-prob of each row's expected answer; None where it does not fit the context."""
        assert desk.logprobs is not None, "only contestants with a model here are graded"
        found = desk.logprobs(examples, [[example.answer or ""] for example in examples])
        desk.notes["rows_left_out"] = sum(one is None for one in found)
        return [None if one is None else _graded(one[0]) for one in found]

    def tally(self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]) -> np.ndarray:
        """Summed log-prob (nats) and number of tokens of each row: [rows, 2]."""
        import numpy as np

        return np.array([[grade.facts["logprob"], grade.facts["tokens"]] for grade in grades])

    def value(self, totals: np.ndarray) -> np.ndarray:
        """exp of the mean log-prob of a token."""
        import numpy as np

        likely: np.ndarray = np.exp(totals[..., 0] / totals[..., 1])
        return likely

    def summarise(
        self, examples: Sequence[Example], answers: Sequence[str | None], grades: Sequence[Grade]
    ) -> dict[str, Any]:
        """Perplexity of a token, nats per character, and the number of tokens."""
        total = sum(grade.facts["logprob"] for grade in grades)
        tokens = sum(grade.facts["tokens"] for grade in grades)
        return {
            "perplexity": math.exp(-total / tokens),
            "nats_per_character": -total / max(1, sum(len(example.answer or "") for example in examples)),
            "tokens": int(tokens),
        }


def _graded(said: LogProb) -> Grade:
    mean = said.total / said.num_tokens
    facts = {"logprob": said.total, "tokens": float(said.num_tokens)}
    return Grade(score=min(1.0, math.exp(mean)), why=f"perplexity {math.exp(-mean):.4g}", facts=facts)
