"""meteor: words aligned with those of the expected text, equal or of one stem, and how far apart they stand."""

from __future__ import annotations

from functools import cache
from typing import Any

from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader
from tunewright.graders._words import words


class Meteor(Grader):
    """METEOR between the answer and the expected text, 0 to 1; the value is the mean over the rows.

    Needs the expected answer. Words are lower-cased and matched when they are equal or have one English stem (Porter);
    synonyms, which the full measure takes from WordNet, do not match: figures are a little lower than published ones.
    The library's own figure (nltk) without a thesaurus. Source: Banerjee and Lavie 2005. Neighbours: `rouge`, `chrf`.
    """

    def grade(self, example: Example, answer: str) -> Grade:
        """The score."""
        return Grade(score=meteor(answer, example.answer or ""))


def meteor(answer: str, expected: str) -> float:
    """METEOR by equal words and stems, 0 to 1."""
    from nltk.translate.meteor_score import single_meteor_score

    said, wanted = words(answer), words(expected)
    return float(single_meteor_score(wanted, said, wordnet=_no_thesaurus())) if said and wanted else 0.0


@cache
def _no_thesaurus() -> Any:
    """What the library asks for synonyms: it knows none, and needs no corpus."""

    class Nothing:
        def synsets(self, word: str) -> list[Any]:
            return []

    return Nothing()
