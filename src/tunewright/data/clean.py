"""Twins: what makes two rows the same, exactly or after normalising."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

from tunewright.core.example import Example, Message

_OF_NUMBERS = "-.,:/%"
_NOT_BEFORE_DIGIT = re.compile(r"[-.,:/](?![0-9])")
_LONGEST_KEY = 500  # characters; longer keys are hashed to save memory


def _is_mark(character: str) -> bool:
    """Punctuation that is no part of a number."""
    return character not in _OF_NUMBERS and unicodedata.category(character)[0] == "P"


_ASCII_MARKS = {code: None for code in range(128) if _is_mark(chr(code))}


def normalise(text: str) -> str:
    """A text without what writers vary: compatibility forms, case, punctuation, white space.

    Punctuation that changes a number (-5, 3.5, 10:30) stays. A text of nothing but punctuation is only folded.
    """
    if text.isascii():
        folded = text.lower()
        bare = folded.translate(_ASCII_MARKS)
    else:
        folded = bare = unicodedata.normalize("NFKC", text).casefold()
        for mark in set(folded):  # a few dozen at most; removing one by one is faster than any pattern of them all
            if _is_mark(mark):
                bare = bare.replace(mark, "")
    bare = _NOT_BEFORE_DIGIT.sub("", bare)
    return " ".join(bare.split()) or " ".join(folded.split())


def prompt_text(example: Example) -> str:
    """All that the model is asked, as one text; of a plain document, the document."""
    if example.text is not None:
        return example.text
    return "\x1e".join(_said(message) for message in example.prompt)


def answer_text(example: Example) -> str:
    """All that the model should say (and, of a pair, should not), as one text."""
    answers = [_said(message) for message in example.messages[len(example.prompt) :]]
    return "\x1e".join([*answers, "\x1f", *(_said(message) for message in example.rejected or [])])


def twin_key(example: Example) -> str:
    """Equal for rows that ask the same, exactly or after normalising: such rows must never straddle a split."""
    if example.text is not None:
        key = normalise(example.text)
    else:
        key = "\x1e".join(f"{message.role}:{normalise(_said(message))}" for message in example.asked)
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def seen(message: Message) -> str:
    """What a message says, and what stands for its media: two pictures differ, although each is <image> in the text."""
    if not message.media:
        return message.content
    return " ".join([message.content, *(part.sha256 or part.path for part in message.media)])


def _said(message: Message) -> str:
    said = seen(message)
    if message.tool_calls is None:
        return said
    return f"{said}{json.dumps(message.tool_calls, ensure_ascii=False, sort_keys=True)}"
