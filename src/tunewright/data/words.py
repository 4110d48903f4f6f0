"""Words of a text: what lexical search compares, and where a text can be cut."""

from __future__ import annotations

import re
from functools import lru_cache

# Written without spaces: each sign is a word.
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_SIGNS}]|[^\W{_SIGNS}]+")
_PIECE = re.compile(rf"[{_SIGNS}]|[^\s{_SIGNS}]+")


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=2**16)
def features_of(word: str) -> tuple[str, ...]:
    """The word and, of a longer one, its runs of four letters, so that other forms of it are found too."""
    runs = [f"{word}$"[start : start + 4] for start in range(len(word) - 2)] if len(word) > 3 else []
    return (f" {word}", *runs)


def features(text: str) -> list[str]:
    """What texts are compared by: the features of each word, one behind the other."""
    return [feature for word in words(text) for feature in features_of(word)]


def spans(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends, with the punctuation that sticks to it."""
    return [match.span() for match in _PIECE.finditer(text)]
