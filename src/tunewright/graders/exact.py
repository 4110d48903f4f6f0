"""exact: the answer is the expected one, or it is not."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._folding import fold


class Exact(Grader):
    """Right or wrong: the answer equals the expected text. The value is accuracy, with Wilson's interval.

    Needs the expected answer (the last assistant message, a label, or `expected`). Compared by McNemar's exact test
    (McNemar 1947). Neighbours: `label_f1` weighs rare classes like common ones; `rouge` and `bleu` grade free text.
    """

    paired: ClassVar[str] = "mcnemar"

    normalise: bool = Field(True, description="case, spacing and punctuation at the ends don't count; off for code")

    def grade(self, example: Example, answer: str) -> Grade:
        """1 when the texts are equal, else 0."""
        expected = example.answer or ""
        same = fold(expected) == fold(answer) if self.normalise else expected == answer
        return Grade(score=1.0) if same else Grade(score=0.0, why="differs from the expected answer")
