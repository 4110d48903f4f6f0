"""punctuation: marks left out, doubled or added, as in quick messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._words import words

_INNER = re.compile(r"[,;:](?=\s)")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])['\u2019](?=[^\W\d_])")
_END = re.compile(r"[.!?]+(?=\s*$)")


class Punctuation(Edit):
    """One of: no mark at the end, three of them, dots where none was, no commas, no apostrophes.

    Marks inside numbers, times and addresses stay. Neighbours: `casing`, `typos`.
    """

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """Other marks in what the user says."""
        ways = [_unmarked, _tripled, _trailing, _without_commas, _without_apostrophes]
        for way in draw.sample(ways, len(ways)):
            changes = [way(text) for text in texts]
            if any(changes):
                return changes
        return None


def _removed(pattern: re.Pattern[str], text: str) -> list[Change]:
    return [Change(*match.span(), "") for match in pattern.finditer(text)]


def _unmarked(text: str) -> list[Change]:
    return _removed(_END, text) if text.strip(" .!?") else []


def _tripled(text: str) -> list[Change]:
    return [
        Change(*match.span(), match.group()[0] * 3)
        for match in _END.finditer(text)
        if match.group() != match.group()[0] * 3 and text.strip(" .!?")
    ]


def _trailing(text: str) -> list[Change]:
    """Dots behind a last word; behind a number or an address they would belong to it."""
    last = max((word.end for word in words(text)), default=-1)
    return [Change(last, last, "...")] if last == len(text.rstrip()) else []


def _without_commas(text: str) -> list[Change]:
    return _removed(_INNER, text)


def _without_apostrophes(text: str) -> list[Change]:
    return _removed(_APOSTROPHE, text)
