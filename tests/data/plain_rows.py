"""Rows with nothing wrong, for faults to be planted in."""

from __future__ import annotations

import random
from typing import Any

from tunewright.core.example import Example, Message

_NAMES = """
ticket invoice window garden winter engine market river letter copper planet kitchen silver bridge summer doctor valley
carpet forest pencil button ladder mirror oyster pepper quartz rocket saddle tunnel velvet
"""
WORDS = _NAMES.split()


def row(number: int, asked: str, answer: str, **more: Any) -> Example:
    """A row of a question and its answer."""
    messages = [Message(role="user", content=asked), Message(role="assistant", content=answer)]
    return Example(id=f"a:{number}", messages=messages, **more)


def plain(count: int, seed: int = 0) -> list[Example]:
    """Rows of random words, of usual lengths."""
    chance = random.Random(seed)
    said = [" ".join(chance.choices(WORDS, k=chance.randrange(8, 16))) for _ in range(2 * count)]
    return [row(n + 1, f"{said[2 * n]}?", f"{said[2 * n + 1]}.") for n in range(count)]
