"""What the edits share that change words: which words may be changed, and how a word's letters are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Pieces in which every sign counts: addresses, file names, numbers with their units, {placeholders}, `code`.
_KEPT = re.compile(r"`[^`]*`|\{[^}]*\}|<[^>]*>|\S*(?:[@/\\_]|\w\.\w|\d)\S*")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")


@dataclass(frozen=True)
class Word:
    """A word of letters, and where it stands."""

    start: int
    end: int
    text: str


def words(text: str) -> Iterator[Word]:
    """The words that may be changed, from left to right."""
    kept = [match.span() for match in _KEPT.finditer(text)]
    at = 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        while at < len(kept) and kept[at][1] <= start:
            at += 1
        if at == len(kept) or kept[at][0] >= end:
            yield Word(start, end, match.group())


def like(word: str, other: str) -> str:
    """A word in the letters of another: SMALL, Capital or as it is."""
    if len(other) > 1 and other.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if other[:1].isupper() else word
