"""Words of a text, the token at which each is tagged, and entities as classes of words: training and answering agree
here.

Classes are BIO (Ramshaw and Marcus 1995, section 3): 0 outside, 1 + 2k the first word of an entity of type k, 2 + 2k a
later one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunewright.core.example import Span
from tunewright.models.chat import Chat

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Tagged:
    """A text as ids, its words as (start, stop), and the place among the ids at which each is tagged.

    cut: whether words at the end were lost.
    """

    ids: list[int]
    words: list[tuple[int, int]]
    places: list[int]
    cut: bool


def lay_out(chat: Chat, text: str, longest: int) -> Tagged:
    """Words are runs of letters and digits, and single other characters. One is tagged at its first token by a model
    that sees both ways, at its last by one that looks back.
    """
    from tunewright.models.documents import Documents

    spelled = chat.spelled(text)
    both_ways = isinstance(chat, Documents)
    ids = chat.shortened(spelled.ids, longest) or spelled.ids[:longest]
    at: dict[int, int] = {}  # character -> the token that stands for it
    kept = len(ids) if len(ids) == len(spelled.ids) else longest - 1
    for place, span in enumerate(spelled.spans[:kept]):
        if span is not None:
            at.update((character, place) for character in range(*span))
    found = [(word.start(), word.end()) for word in _WORD.finditer(text)]
    words = [word for word in found if all(character in at for character in (word[0], word[1] - 1))]
    places = [at[start if both_ways else stop - 1] for start, stop in words]
    return Tagged(ids, words, places, cut=len(words) < len(found))


def classes(words: Sequence[tuple[int, int]], spans: Iterable[Span], types: Sequence[str]) -> list[int | None]:
    """The class of each word; None for a word of an entity whose type is not among the known ones."""
    number = {name: place for place, name in enumerate(types)}
    found: list[int | None] = [0] * len(words)
    for span in spans:
        inside = [place for place, (start, stop) in enumerate(words) if start < span.end and stop > span.start]
        for nth, place in enumerate(inside):
            found[place] = 1 + 2 * number[span.label] + (nth > 0) if span.label in number else None
    return found


def entities(words: Sequence[tuple[int, int]], tags: Sequence[int], types: Sequence[str]) -> list[Span]:
    """The entities that classes of words tell. A later word of an entity without a first one begins one."""
    found: list[Span] = []
    before = 0
    for (start, stop), tag in zip(words, tags, strict=True):
        if tag > 0:
            label = types[(tag - 1) // 2]
            if tag % 2 == 0 and before in (tag, tag - 1):
                found[-1] = found[-1].model_copy(update={"end": stop})
            else:
                found.append(Span(start=start, end=stop, label=label))
        before = tag
    return found
