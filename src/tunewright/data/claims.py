"""What an answer claims, and whether a passage holds it: by words, numbers and quotes, without any model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunewright.data import clean
from tunewright.data.grounding import citations, without_citations
from tunewright.data.written import NUMBER, SMALL, stem

_EAST_ASIAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # written without spaces: each sign is a word
_WORD = re.compile(rf"[{_EAST_ASIAN}]|[^\W_{_EAST_ASIAN}]+")
_SHORT = r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bNo)(?<!\bvs)(?<!\b[A-Z])(?<!\be\.g)(?<!\bi\.e)"
# A citation behind a full stop still belongs to the sentence before it.
_BREAK = re.compile(
    rf"(?:{_SHORT}\.|[!?\u2026])[\"'\u201d\u2019)]*(?:\s*\[[^\]\n]+\])*\s+(?=[^\s\[a-z])|[\u3002\uff01\uff1f]|\n+"
)
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+")
_QUOTE = re.compile('"([^"\n]+)"|\u201c([^\u201d\n]+)\u201d|\u00ab([^\u00bb\n]+)\u00bb|\u201e([^\u201c\n]+)\u201c')
_SHORTEST_QUOTE = 2  # words: one alone is a name or an emphasis


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer: its words without citations, what it cites, and the texts that it quotes."""

    text: str
    cited: tuple[str, ...]
    quotes: tuple[str, ...]


def claims(answer: str) -> list[Claim]:
    """The sentences of an answer that say something, in their order."""
    found = []
    for piece in sentences(answer):
        text = without_citations(_BULLET.sub("", piece))
        if content(text):
            quotes = (next(part for part in match.groups() if part) for match in _QUOTE.finditer(text))
            kept = tuple(quote for quote in quotes if len(_WORD.findall(quote)) >= _SHORTEST_QUOTE)
            found.append(Claim(text, tuple(citations(piece)), kept))
    return found


def content(text: str) -> list[str]:
    """The words of a text that say something, normalised: all but those that any sentence has."""
    return [word for word in _WORD.findall(clean.normalise(text)) if word not in SMALL]


def support(claim: str, passage: str) -> float:
    """How much of a claim stands in a passage: the share of its words that do, word stems alike; 0 where one of its
    numbers does not. It cannot tell who did what to whom, nor whether what stands there answers the question.
    """
    plain, words = clean.normalise(passage), content(claim)
    if not words:
        return 0.0
    if not numbers_stand(claim, passage):
        return 0.0
    known = set(_WORD.findall(plain))
    stems = {stem(word) for word in known}
    return sum(word in known or stem(word) in stems for word in words) / len(words)


def best(claim: str, passages: Mapping[str, str], among: Sequence[str] | None = None) -> tuple[str | None, float]:
    """The passage (of these) that supports a claim most, and how much."""
    names = list(passages) if among is None else [name for name in among if name in passages]
    found = [(name, support(claim, passages[name])) for name in names]
    return max(found, key=lambda one: one[1], default=(None, 0.0))


def numbers_stand(claim: str, passage: str) -> bool:
    """Whether every number of a claim stands in a passage."""
    plain = clean.normalise(passage)
    return all(_stands(number, plain) for number in NUMBER.findall(clean.normalise(claim)))


def _stands(number: str, plain: str) -> bool:
    """Whether a number stands in a text as a whole, and not as part of another one."""
    return re.search(rf"(?<![\d]){re.escape(number)}(?!\d)", plain) is not None


def sentences(answer: str) -> list[str]:
    """A text cut behind its full stops, and at its line breaks."""
    pieces, at = [], 0
    for match in _BREAK.finditer(answer):
        pieces.append(answer[at : match.end()])
        at = match.end()
    return [piece.strip() for piece in (*pieces, answer[at:]) if piece.strip()]
