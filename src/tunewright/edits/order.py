"""order: some neighbouring words change places."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._words import words


class Order(Edit):
    """Neighbouring words swapped, as in hurried or foreign English.

    A gentle form of EDA's "random swap" (Wei and Zou 2019, arXiv 1901.11196), which moves words across the whole
    sentence. Neighbours: `dropout`, `typos`.
    """

    rate: float = Field(0.1, gt=0, le=0.5, description="share of the words that change places with the next one")

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """Words of what the user says in another order."""
        changes: list[list[Change]] = []
        for text in texts:
            pairs = _pairs(text)
            chosen = [pair for pair in pairs if draw.random() < self.rate] or ([draw.choice(pairs)] if pairs else [])
            changes.append(_apart(chosen))
        return changes if any(changes) else None


def _pairs(text: str) -> list[Change]:
    there = list(words(text))
    return [
        Change(first.start, second.end, f"{second.text} {first.text}")
        for first, second in itertools.pairwise(there)
        if text[first.end : second.start] == " " and first.text != second.text
    ]


def _apart(chosen: list[Change]) -> list[Change]:
    """Those that share no word with one before them."""
    kept: list[Change] = []
    for change in chosen:
        if not kept or change.start >= kept[-1].end:
            kept.append(change)
    return kept
