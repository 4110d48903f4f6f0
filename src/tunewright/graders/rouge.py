"""rouge: overlap of words or of their longest common sequence with the expected text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._words import words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


class Rouge(Grader):
    """F-measure of ROUGE between the answer and the expected text, 0 to 1; the value is the mean over the rows.

    Needs the expected answer. Words are lower-cased runs of letters and digits of any script, not stemmed; on ASCII
    text it is the rouge-score library's own figure. Source: ROUGE, a package for automatic evaluation of summaries
    (Lin 2004). Neighbours: `bleu` (precision, over the whole set), `chrf`, `meteor`, `exact`.
    """

    variant: Literal["rouge1", "rouge2", "rougeL"] = Field(
        "rougeL", description="single words, pairs, or longest sequence"
    )

    def grade(self, example: Example, answer: str) -> Grade:
        """The F-measure."""
        score = _scorer(self.variant).score(example.answer or "", answer)[self.variant]
        return Grade(score=score.fmeasure, why=f"precision {score.precision:.2f}, recall {score.recall:.2f}")


class _Words:
    """Tokenizer for the library; its own one drops every letter outside ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@cache
def _scorer(variant: str) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([variant], tokenizer=_Words())
