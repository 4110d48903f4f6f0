"""What a model wrote, read with care: its lists, whether an answer rests on a passage, whether a text is new."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from tunewright.data import clean


def _of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[^\W_]+")
NUMBER = re.compile(r"\d[\d.,:/-]*\d|\d")
_ITEM = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+(.+)$", re.MULTILINE)
# Words that an answer may add to those of a passage.
SMALL = _of(
    "a an and are as at be been but by can did do does for from had has have he her his how i if in into is it its no "
    "not of on or our she so than that the their them then there these they this those to was we were what when where "
    "which who why will with would yes you your may must should also only because about"
)
_SHARE = 0.7  # of an answer's other words that must stand in the passage
# A question that speaks of its passage cannot be asked without it.
_POINTS = re.compile(
    r"\b(?:the|this|that|above|given|provided|following)\s+(?:\w+\s+)?(?:passage|text|paragraph|excerpt|document|article"
    r"|section|author)\b|\baccording to (?:it|the)\b", re.IGNORECASE
)  # fmt: skip


def items(reply: str) -> list[Any]:
    """The elements of a list in a reply: JSON, also inside a fence or other words; else the lines of a list."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\[", reply):
        try:
            found, _ = decoder.raw_decode(reply, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, list) and found:
            return found
    objects, at = [], 0
    while (at := reply.find("{", at)) >= 0:
        try:
            one, at = decoder.raw_decode(reply, at)
            objects.append(one)
        except (ValueError, RecursionError):
            at += 1
    return objects or [match.group(1).strip() for match in _ITEM.finditer(reply)]


def grounded(answer: str, passage: str) -> bool:
    """Whether an answer rests on a passage: every number of it stands there, and most of its words."""
    plain = clean.normalise(passage)
    known = set(_WORD.findall(plain))
    if any(number not in plain for number in NUMBER.findall(clean.normalise(answer))):
        return False
    said = [word for word in _WORD.findall(clean.normalise(answer)) if word not in SMALL]
    stems = {stem(word) for word in known}
    there = sum(word in known or stem(word) in stems for word in said)
    return bool(said) and there >= _SHARE * len(said)


def quoted(quote: str, passage: str) -> bool:
    """Whether a passage holds these words, but for case, punctuation and spaces."""
    return bool(quote.strip()) and clean.normalise(quote) in clean.normalise(passage)


def points_at_passage(question: str) -> bool:
    """Whether a question speaks of the passage that it was made from."""
    return bool(_POINTS.search(question))


def stem(word: str) -> str:
    """A word without its commonest English ending."""
    return re.sub(r"(?:ies|es|s|ed|ing|ly)$", "", word) if len(word) > 4 else word


# --- novelty ---


class Pool:
    """Texts whose words tell whether another one is new: ROUGE-L below a bound against all of them.

    The filter of self-instruct (Wang et al. 2022, arXiv 2212.10560, section 2.2), whose bound is 0.7.
    """

    def __init__(self, texts: Iterable[str] = (), *, bound: float = 0.7) -> None:
        self.bound = bound
        self._known = [words_of(text) for text in texts]

    def is_new(self, text: str) -> bool:
        """Whether no known text is that similar."""
        mine = words_of(text)
        return all(not self._similar(mine, other) for other in self._known)

    def add(self, text: str) -> None:
        """Take a text in."""
        self._known.append(words_of(text))

    def _similar(self, first: list[str], second: list[str]) -> bool:
        total = len(first) + len(second)
        if total == 0 or 2 * min(len(first), len(second)) < self.bound * total:
            return total == 0  # the shorter one, all of it, would not be enough
        return 2 * common(first, second) >= self.bound * total


def words_of(text: str) -> list[str]:
    """Lower-cased runs of letters and digits."""
    return _WORD.findall(text.lower())


def rouge_l(first: str, second: str) -> float:
    """F-measure of the longest common sequence of words (Lin 2004)."""
    one, two = words_of(first), words_of(second)
    return 2 * common(one, two) / (len(one) + len(two)) if one or two else 0.0


def common(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, a row of the table in one integer (Crochemore et al. 2001)."""
    where: dict[str, int] = {}
    for place, word in enumerate(first):
        where[word] = where.get(word, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        matches = row & where.get(word, 0)
        row = ((row + matches) | (row - matches)) & full
    return len(first) - row.bit_count()
