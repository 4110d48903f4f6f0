"""Words of a text: what lexical search compares, and where a text can be cut."""

from __future__ import annotations

import re

# Written without spaces: each sign is a word.
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_SIGNS}]|[^\W{_SIGNS}]+")
_PIECE = re.compile(rf"[{_SIGNS}]|[^\s{_SIGNS}]+")


def features(text: str) -> list[str]:
    """Words, and runs of four letters of longer words, so that other forms of a word are found too."""
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        found.append(f" {word}")
        if len(word) > 3:
            found += [f"{word}$"[start : start + 4] for start in range(len(word) - 2)]
    return found


def spans(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends, with the punctuation that sticks to it."""
    return [match.span() for match in _PIECE.finditer(text)]
