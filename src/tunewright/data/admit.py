"""Which made rows may be learned from: none that is near to a row that measures, or that is there already."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from tunewright.core.augment import MADE
from tunewright.core.example import Example
from tunewright.data import clean
from tunewright.data.augment import asked_digest
from tunewright.data.near import text_of
from tunewright.data.overlap import Near

MEASURES = ("test", "validation", "held_out")
REASONS = {  # of rows that are thrown away, as people read them
    **{f"near_{side}": f"near to a {side.replace('_', '-')} row" for side in MEASURES},
    "of_held_out": "made from a row that measures now",
    "repeated": "equal to another row",
    "near_training": "near to another training row",
    "contradicts": "near to a training row with another answer",
}
_NUMBER = re.compile(r"\d+")


class Gate:
    """Takes rows in one after the other, or tells why not. In memory: the 5-grams of all rows.

    sides: the rows that are there, by side. threshold: similarity from which rows are near (data/overlap.py).
    """

    def __init__(self, sides: Mapping[str, Iterable[Example]], *, threshold: float) -> None:
        self.refused: Counter[str] = Counter()
        self.first: dict[str, str] = {}  # of each reason, the first row and what it was near to
        self._of: list[tuple[str, str, str, str, list[str]]] = []  # side, id, family, answer, numbers asked about
        self._measured: set[str | None] = set()  # what rows that measure ask, and their ids
        self._exact: set[tuple[str, str]] = set()
        texts = []
        for side, examples in sides.items():
            for example in examples:
                texts.append(text_of(example))
                self._remember(example, side)
        self._near = Near(texts, threshold=threshold)

    def admit(self, example: Example) -> bool:
        """Take a row to learn from in, unless something speaks against it. Rows that nobody made may be near to other
        training rows, as those of the sources may.
        """
        why = self.against(example)
        if why is not None and why[0] in ("near_training", "contradicts") and MADE not in example.meta:
            why = None
        if why is not None:
            self.refused[why[0]] += 1
            self.first.setdefault(why[0], f"{example.id} and {why[1]}: {said(example)[:120]}")
            return False
        self.take(example)
        return True

    def take(self, example: Example) -> None:
        """Count a row among those to learn from."""
        self._near.add(text_of(example))
        self._remember(example, "train")

    def _remember(self, example: Example, side: str) -> None:
        answer = clean.answer_text(example)
        self._of.append((side, example.id, family(example), clean.normalise(answer), _NUMBER.findall(said(example))))
        if side in MEASURES:
            self._measured |= {asked_digest(example), example.id}
        self._exact.add((said(example), answer))

    def against(self, example: Example) -> tuple[str, str] | None:
        """What speaks against learning from a row (a key of REASONS), and the other row's id."""
        origin = example.meta.get(MADE)
        if isinstance(origin, dict) and not self._measured.isdisjoint({origin.get("asked"), str(origin.get("from"))}):
            return "of_held_out", str(origin.get("from"))
        answer = clean.answer_text(example)
        own, found, numbers = family(example), None, _NUMBER.findall(said(example))
        for number, _ in self._near.of(text_of(example)):
            side, id, other, answered, others = self._of[number]
            if others != numbers:  # with other numbers a text asks something else, as in data/near.py
                continue
            if side in MEASURES:
                return f"near_{side}", id
            if other != own and found is None:
                found = ("near_training" if answered == clean.normalise(answer) else "contradicts"), id
        return ("repeated", own) if (said(example), answer) in self._exact else found


def said(example: Example) -> str:
    """What tells rows apart: what the user says, without the instructions that all rows share."""
    if example.text is not None:
        return example.text
    spoken = [clean.seen(message) for message in example.asked if message.role == "user"]
    return "\n".join(spoken) or clean.prompt_text(example)


def family(example: Example) -> str:
    """The row that an edited row was made from, else the row itself: an edit is near to its own origin by design."""
    origin = example.meta.get(MADE)
    return str(origin["from"]) if isinstance(origin, dict) and "from" in origin else example.id
