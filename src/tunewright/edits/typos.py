"""typos: slips of the finger, as people make them on a keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pydantic import Field

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._words import Word, like, words

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHORTEST = 3  # letters; a slip in a shorter word makes another word


def _neighbours() -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in enumerate(_ROWS):
        for place, letter in enumerate(row):
            near = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
            if number > 0:  # the row above is shifted to the left by half a key
                near += _ROWS[number - 1][place : place + 2]
            if number + 1 < len(_ROWS):
                near += _ROWS[number + 1][max(0, place - 1) : place + 1]
            found[letter] = near
    return found


NEIGHBOURS = _neighbours()  # of each letter, on a QWERTY keyboard


class Typos(Edit):
    """Letters swapped, left out, doubled, or hit beside their key (QWERTY); one in a word at most, at least one in all.

    Makes a model stand the slips of real messages. Words with digits, addresses, code and placeholders are left alone.
    Noise of this kind: Belinkov and Bisk 2018 (arXiv 1711.02173). Neighbours: `casing`, `punctuation`.
    """

    rate: float = Field(
        0.03, gt=0, le=0.5, description="share of the letters: 0.03 is a slip in about every sixth word"
    )

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """Slips in what the user says."""
        places = [(number, word) for number, text in enumerate(texts) for word in words(text)]
        places = [(number, word) for number, word in places if len(word.text) >= _SHORTEST]
        if not places:
            return None
        chosen = [place for place in places if draw.random() < self.rate * len(place[1].text)]
        changes: list[list[Change]] = [[] for _ in texts]
        for number, word in chosen or [draw.choice(places)]:
            changes[number].append(Change(word.start, word.end, _slip(word, draw)))
        return changes


def _slip(word: Word, draw: Random) -> str:
    """The word with one slip: another text always. The first letter stays, as it mostly does."""
    text = word.text
    at = draw.randrange(1, len(text))
    ways = ["omit", "double"]
    if at + 1 < len(text) and text[at].lower() != text[at + 1].lower():
        ways.append("swap")
    if text[at].lower() in NEIGHBOURS:
        ways.append("beside")
    way = draw.choice(ways)
    if way == "swap":
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if way == "beside":
        return text[:at] + like(draw.choice(NEIGHBOURS[text[at].lower()]), text[at]) + text[at + 1 :]
    return text[:at] + (text[at] * 2 if way == "double" else "") + text[at + 1 :]
