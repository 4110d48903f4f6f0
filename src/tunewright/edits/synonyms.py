"""synonyms: some words become others that mean the same, from a list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import ClassVar

from pydantic import Field, model_validator

from tunewright.core.parts import Edit
from tunewright.data.changes import Change
from tunewright.edits._words import like, words

# General English: words that stand for each other almost anywhere, whatever the sentence is about.
GENERAL = """
allow, permit
almost, nearly
answer, reply
at once, immediately, right away
begin, start
big, large
buy, purchase
choose, select
clarify, explain
currently, at the moment
difficult, tricky
discover, find out
easy, simple
entire, whole
error, mistake
essential, important
fast, quick, rapid
film, movie
fix, mend, repair
frequently, often
gather, collect
goal, aim
happen, occur
happy, glad
hello, hi, hey
help, assist
idea, notion
image, picture
incorrect, wrong
look for, search for
maybe, perhaps
normally, usually
odd, strange, weird
people, persons
phone, telephone
photo, photograph
rarely, seldom
sad, unhappy
several, a number of
show, display
slowly, at a slow pace
speak, talk
stop, cease
thank you, thanks
try, attempt
until, till
"""


class Synonyms(Edit):
    """Words replaced by others of the same set; a set a line, separated by commas, as phrases of several words too.

    With a list of one's own trade this is the edit that adds most. The operation "synonym replacement" of EDA (Wei and
    Zou 2019, arXiv 1901.11196), with a list instead of WordNet. Neighbours: `paraphrase` (asks a model).
    """

    paths: ClassVar[tuple[str, ...]] = ("words",)

    words: str | None = Field(None, description="a text file: in each line words that may stand for each other")
    general: bool = Field(True, description="also the small list of general English that comes with tunewright")
    rate: float = Field(0.3, gt=0, le=1, description="share of the words with a synonym that are replaced")

    @model_validator(mode="after")
    def _has_a_list(self) -> Synonyms:
        if self.words is None and not self.general:
            raise ValueError("has no list: give words, or leave general on")
        if self.words is not None and not Path(self.words).is_file():
            raise ValueError(f"words: there is no file '{self.words}'")
        return self

    def change(self, texts: Sequence[str], draw: Random, replies: Sequence[str] = ()) -> list[list[Change]] | None:
        """Other words in what the user says."""
        table = _table(self.words, self.general)
        places = [(number, change) for number, text in enumerate(texts) for change in _places(text, table, draw)]
        if not places:
            return None
        chosen = [place for place in places if draw.random() < self.rate] or [draw.choice(places)]
        changes: list[list[Change]] = [[] for _ in texts]
        for number, change in chosen:
            changes[number].append(change)
        return changes


def _places(text: str, table: Table, draw: Random) -> Iterator[Change]:
    """Where a phrase of the list stands, the longest first, and another of its set."""
    free = {word.start for word in words(text)}
    for match in table.pattern.finditer(text):
        phrase = " ".join(match.group().lower().split())
        if match.start() in free:
            yield Change(*match.span(), like(draw.choice(table.others[phrase]), match.group()))


class Table:
    """Which phrases may stand for which."""

    def __init__(self, sets: Sequence[Sequence[str]]) -> None:
        self.others: dict[str, list[str]] = {}
        for phrases in sets:
            for phrase in phrases:
                known = self.others.setdefault(phrase, [])
                known += [other for other in phrases if other != phrase and other not in known]
        longest = sorted(self.others, key=lambda phrase: (-len(phrase), phrase))
        spaced = [r"\s+".join(map(re.escape, phrase.split())) for phrase in longest]
        self.pattern = re.compile(rf"(?<!\w)(?:{'|'.join(spaced) or '(?!)'})(?!\w)", re.IGNORECASE)


@cache
def _table(file: str | None, general: bool) -> Table:
    own = Path(file).read_text(encoding="utf-8").splitlines() if file else []
    sets = []
    for line in [*own, *(GENERAL.splitlines() if general else [])]:
        phrases = list(dict.fromkeys(" ".join(phrase.lower().split()) for phrase in line.split(",")))
        phrases = [phrase for phrase in phrases if phrase]
        if len(phrases) > 1:
            sets.append(phrases)
    return Table(sets)
