"""casing: all small letters, all capitals, or a Capital on each word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._words import words

Style = Literal["lower", "upper", "capital"]
_MAKE: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "capital": lambda word: word[:1].upper() + word[1:],
}


class Casing(Edit):
    """What the user says in other letters: as people type who never press shift, or hold it down.

    Neighbours: `typos`, `punctuation`.
    """

    styles: list[Style] = Field(
        ["lower", "upper"], min_length=1, description="one is drawn for each row, of those that change it"
    )

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """Words in other letters."""
        for style in draw.sample(self.styles, len(self.styles)):
            make = _MAKE[style]
            changes = [
                [Change(w.start, w.end, make(w.text)) for w in words(text) if make(w.text) != w.text] for text in texts
            ]
            if any(changes):
                return changes
        return None
