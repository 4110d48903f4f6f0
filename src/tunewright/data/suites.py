"""Items of evaluation suites, and whether a text is one of them: runs of 13 words, or nearly the same short text."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunewright.core.errors import DataError
from tunewright.data import sources
from tunewright.data.clean import normalise

RUN = 13  # words: the n-gram of lm-evaluation-harness and of Brown et al. 2020 (GPT-3), appendix C, arXiv 2005.14165
_COMMON = 10  # items with one run: a frame that the suite's items share, not one of them
_GRAM = 5  # characters
_LEAST_LETTERS = 20  # a shorter question is asked by anyone
_SHORT = 300  # characters: a longer text has runs of words to be known by
_MOST_PIECES = 40  # lines of a row that are compared
_QUESTIONS = (
    "question", "prompt", "query", "problem", "input", "text", "instruction", "sentence", "sent_more", "passage",
    "ctx", "goal", "premise", "context",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """An item of a suite: where it is from, its question, and all of its texts as one."""

    file: str
    line: int
    question: str
    whole: str


@dataclass(frozen=True)
class Match:
    """The item that a text meets, and how."""

    item: Item
    how: str  # "13 words", "equal", "nearly equal"


class Suites:
    """Items of files, ready to be met. Memory: about 0.5 KiB an item of 100 characters."""

    def __init__(self, items: Sequence[Item], similarity: float) -> None:
        self.items, self.similarity = items, similarity
        self.runs: dict[int, int] = {}
        self.equal: dict[str, int] = {}
        counts: Counter[int] = Counter()
        for place, item in enumerate(items):
            own = set(_runs(normalise(item.whole).split()))
            counts.update(own)
            for run in own:
                self.runs.setdefault(run, place)
        for run, count in counts.items():
            if count >= _COMMON:
                del self.runs[run]
        self.grams: list[frozenset[str]] = []
        self.frame: frozenset[str] = frozenset()  # what most questions of the suites have
        for place, item in enumerate(items):
            question = normalise(item.question)
            if len(question) >= _LEAST_LETTERS:
                self.equal.setdefault(question, place)
            self.grams.append(_grams(question) if _LEAST_LETTERS <= len(question) <= _SHORT else frozenset())
        self.times = Counter(gram for grams in self.grams for gram in grams)
        if len(items) >= 2 * _COMMON:
            self.frame = frozenset(gram for gram, times in self.times.items() if 2 * times > len(items))
            self.grams = [grams - self.frame for grams in self.grams]
        self.rare: dict[str, list[int]] = defaultdict(list)  # items by their rarest runs of characters
        for place, grams in enumerate(self.grams):
            for gram in self._rarest(grams):
                self.rare[gram].append(place)

    def _rarest(self, grams: Iterable[str]) -> list[str]:
        """Of two sets with Jaccard similarity s, the rarest |a| - ceil(s |a|) + 1 members of both share one (prefix
        filter, Bayardo et al. 2007, doi 10.1145/1242572.1242591).
        """
        ordered = sorted(grams, key=lambda gram: (self.times.get(gram, 0), gram))
        return ordered[: len(ordered) - math.ceil(self.similarity * len(ordered)) + 1]

    def met(self, text: str) -> Match | None:
        """The first item that a text holds."""
        for run in _runs(normalise(text).split()):
            if run in self.runs:
                return Match(self.items[self.runs[run]], f"{RUN} words")
        pieces = [piece for piece in _pieces(text) if len(piece) >= _LEAST_LETTERS]
        for piece in pieces:
            if piece in self.equal:
                return Match(self.items[self.equal[piece]], "equal")
        for piece in pieces:
            near = self._near(piece) if len(piece) <= _SHORT / self.similarity else None
            if near is not None:
                return Match(self.items[near], "nearly equal")
        return None

    def _near(self, piece: str) -> int | None:
        grams = _grams(piece) - self.frame
        unknown = sum(gram not in self.times for gram in grams)
        if not grams or unknown > (1 - self.similarity) * len(grams):
            return None
        tried: set[int] = set()
        for gram in self._rarest(grams):
            for place in self.rare.get(gram, ()):
                if place in tried:
                    continue
                tried.add(place)
                other = self.grams[place]
                if not self.similarity * len(grams) <= len(other) <= len(grams) / self.similarity:
                    continue
                both = len(grams & other)
                if both >= self.similarity * (len(grams) + len(other) - both):
                    return place
        return None


@lru_cache(maxsize=1)
def _built(files: tuple[tuple[str, int], ...], similarity: float) -> Suites:
    return Suites(items_of([file for file, _ in files]), similarity)


def suites_of(files: list[str], similarity: float) -> Suites:
    """The suites of files, kept while rows are looked at again. Raises NotThere and DataError."""
    found = sources.files(files)
    return _built(tuple((file, Path(file).stat().st_mtime_ns) for file in found), similarity)


def items_of(files: list[str]) -> list[Item]:
    """The items of suite files, in any kind of file that is read. Raises NotThere and DataError."""
    found = []
    for file in sources.files(files):
        for row in sources.read([file]):
            if row.values is None:
                continue
            texts = list(_texts(row.values))
            question = _question(row.values)
            if texts and question:
                found.append(Item(Path(file).name, row.line, question, "\n".join([question, *texts])))
    if not found:
        raise DataError(f"data.checks: contamination: {', '.join(files)} hold no texts. Name files of items.")
    return found


def _question(values: dict[str, Any]) -> str:
    """What an item asks: the first usual column, else what the user says, else the longest text."""
    lowered = {name.lower(): value for name, value in values.items()}
    for name in _QUESTIONS:
        if isinstance(lowered.get(name), str) and lowered[name].strip():
            return str(lowered[name])
    messages = values.get("messages")
    if isinstance(messages, list):
        said = [one.get("content") for one in messages if isinstance(one, dict) and one.get("role") == "user"]
        if said and isinstance(said[-1], str):
            return said[-1]
    return max((value for value in values.values() if isinstance(value, str)), key=len, default="")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _runs(words: list[str]) -> Iterator[int]:
    return map(hash, zip(*(words[start:] for start in range(RUN)), strict=False)) if len(words) >= RUN else iter(())


def _pieces(text: str) -> Iterator[str]:
    """The whole text and its lines, normalised, without what leads to a question ('Q:')."""
    lines = text.split("\n")[:_MOST_PIECES]
    for piece in [text, *lines] if len(lines) > 1 else lines:
        if len(piece) > 2_000:
            continue
        yield normalise(piece)
        head, colon, rest = piece.partition(":")
        if colon and len(head) <= 20:
            yield normalise(rest)


def _grams(text: str) -> frozenset[str]:
    return frozenset(text[start : start + _GRAM] for start in range(max(1, len(text) - _GRAM + 1)))
