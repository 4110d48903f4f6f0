"""Folds away what rarely matters when short answers are compared: case, spacing, punctuation at the ends."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Unicode-normalised, casefolded, single-spaced, without punctuation at either end (symbols such as `+` stay)."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    start, end = 0, len(text)
    while start < end and _falls_away(text[start]):
        start += 1
    while end > start and _falls_away(text[end - 1]):
        end -= 1
    return text[start:end] or text


def _falls_away(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")
