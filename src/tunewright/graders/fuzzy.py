"""fuzzy: how alike two texts are, letter by letter."""

from __future__ import annotations

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._folding import fold


class Fuzzy(Grader):
    """2 x the letters of the longest common subsequence / the letters of both, case and spacing folded: 0 to 1.

    Needs the expected answer. Good for names and codes with slips of spelling; meaning does not count. The value is the
    mean over the rows. rapidfuzz's ratio (the normalised indel similarity). Neighbours: `exact`; `similarity`, by
    meaning; `chrf`, over the whole set.
    """

    def grade(self, example: Example, answer: str) -> Grade:
        """The likeness."""
        from rapidfuzz.fuzz import ratio

        return Grade(score=ratio(fold(answer), fold(example.answer or "")) / 100)
