"""Rows in a line, short enough for a report."""

from __future__ import annotations

from tunewright.core.example import Example
from tunewright.data.clean import prompt_text


def short(text: str, most: int) -> str:
    """A text as one line of at most so many characters."""
    line = " ".join(text.replace("\x1e", " | ").split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def row(example: Example) -> str:
    """A row: its id, what it asks and what it answers."""
    return f"{example.id}: {short(prompt_text(example), 80)} -> {short(example.answer or '', 60)}"


def rows(*examples: Example) -> str:
    """Rows side by side."""
    return " / ".join(row(example) for example in examples)
