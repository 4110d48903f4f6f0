"""What messages become on their way through a chat: turns as ids, turns as text, and what was encoded together."""

from __future__ import annotations

from dataclasses import dataclass

from tunewright.core.example import Example


@dataclass(frozen=True)
class Turn:
    """One assistant turn: the ids it is asked with, the ids it should say (end of turn included), its weight."""

    prompt: list[int]
    answer: list[int]
    weight: float = 1.0


@dataclass(frozen=True)
class Spelled:
    """A text as ids, and the characters (start, stop) that each of them stands for; None for what frames the text."""

    ids: list[int]
    spans: list[tuple[int, int] | None]


@dataclass(frozen=True)
class Draft:
    """A turn as text. marks: what stands for control strings that users wrote."""

    prompt: str
    answer: str
    marks: dict[str, str]
    weight: float


@dataclass(frozen=True)
class Ahead:
    """What was encoded together: the turns of examples (by identity) and of their worse answers, and the ids of
    documents.
    """

    turns: dict[int, tuple[Example, list[Turn], list[Turn]]]
    texts: dict[str, list[int]]
