"""What the edits share that ask a model: its reply as a user's message."""

from __future__ import annotations

import re

from tunewright.data import clean
from tunewright.data.changes import Change

_QUOTED = re.compile(r"\A([\"'\u201c\u2018`])(.+)[\"'\u201d\u2019`]\Z", re.DOTALL)
_NUMBER = re.compile(r"\d+")
_LONGEST = 3.0  # times the message; longer replies explain instead of rewording
_ROOM = 80  # characters that any reply may have


def reworded(text: str, reply: str) -> list[list[Change]] | None:
    """The whole message becomes the reply; None where that says nothing new, talks about the message, or changes its
    numbers.
    """
    said = reply.strip()
    quoted = _QUOTED.match(said)
    if quoted and not _QUOTED.match(text.strip()):
        said = quoted.group(2).strip()
    if sorted(_NUMBER.findall(said)) != sorted(_NUMBER.findall(text)):
        return None
    if not said or len(said) > _LONGEST * len(text) + _ROOM or clean.normalise(said) == clean.normalise(text):
        return None
    return [[Change(0, len(text), said)]]
