"""dropout: some words are left out."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._words import Word, words

# Without one of these a sentence says something else.
_NEGATIONS = (
    "not no never without nor neither none nothing cannot except unless only can't don't doesn't didn't won't isn't "
    "aren't wasn't weren't haven't hasn't hadn't wouldn't shouldn't couldn't"
)
_FEWEST = 4  # words of a text that can lose one


class Dropout(Edit):
    """Words left out at random, never a negation, and never more than half of them.

    The operation "random deletion" of EDA (Wei and Zou 2019, arXiv 1901.11196). It may take the word on which the
    answer hangs, so keep the rate low. Neighbours: `order`, `synonyms`.
    """

    rate: float = Field(0.1, gt=0, le=0.5, description="share of the words: high ones change what is said")

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """Words left out of what the user says."""
        changes = [self._left_out(text, draw) for text in texts]
        return changes if any(changes) else None

    def _left_out(self, text: str, draw: Random) -> list[Change]:
        there = list(words(text))
        free = [word for word in there if word.text.lower().replace("\u2019", "'") not in _NEGATIONS.split()]
        if len(there) < _FEWEST or not free:
            return []
        chosen = [word for word in free if draw.random() < self.rate] or [draw.choice(free)]
        return [_without(text, word) for word in chosen[: len(there) // 2]]


def _without(text: str, word: Word) -> Change:
    """The word goes with the space behind it (before it, where nothing is behind)."""
    if text[word.end : word.end + 1] == " ":
        return Change(word.start, word.end + 1, "")
    return Change(word.start, word.end, "")
