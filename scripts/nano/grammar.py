"""Turns hand-written templates into sentences: `[a|b]` chooses, `{slot}` draws from a named list."""

from __future__ import annotations

import random
import re
from pathlib import Path

SLOT = re.compile(r"\{(\w+)\}")
CHOICE = re.compile(r"\[([^\[\]{}]*)\]")
WORD = re.compile(r"[A-Za-z]{5,}")
QUESTION = re.compile(
    r"^(how|what|where|why|when|who|which|whose|can|could|is|are|am|do|does|did|will|would|was|were|should|shall|may"
    r"|must|any chance|any idea|has|have you|until when|from what|in which|roughly when|so why|at what|on what|for what"
    r"|for how|please tell me, why|I wonder, why|one thing I don't get: why|sorry to ask, but why)\b",
    re.IGNORECASE,
)
LAST_CLAUSE = re.compile(
    r"[,:] ((?:what|how|why|when|where|which|is|are|can|may|does|did|will|should|must|do) [^,]*)$", re.IGNORECASE
)


class Grammar:
    """Expands templates; the lists behind the slots are read from a file of `name: a|b|c` lines."""

    def __init__(self, path: Path) -> None:
        self.slots: dict[str, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, values = line.partition(": ")
            self.slots[name] = values.split("|")

    def expand(self, template: str, *, rng: random.Random) -> str:
        """One sentence of the template; the same slot used twice draws two different values."""
        used: set[str] = set()
        text = template
        while True:
            filled = SLOT.sub(lambda match: self._draw(match[1], rng=rng, used=used), text)
            filled = CHOICE.sub(lambda match: rng.choice(match[1].split("|")), filled)
            if filled == text:
                return re.sub(r"\b([Aa]) (?=orange|omelette|app\b|hour)", r"\1n ", text)
            text = filled

    def _draw(self, name: str, *, rng: random.Random, used: set[str]) -> str:
        for _ in range(8):
            value = self._value(name, rng=rng)
            if value not in used:
                break
        used.add(value)
        return value

    def _value(self, name: str, *, rng: random.Random) -> str:
        if name == "amount":
            return amount(rng)
        if name == "time":
            return clock(rng)
        if name == "number":
            return str(rng.randrange(100, 99999))
        if name not in self.slots:
            raise ValueError(
                f"The template names the slot {name!r}, which slots.txt does not define; add a line for it."
            )
        return rng.choice(self.slots[name])


def amount(rng: random.Random) -> str:
    """A sum of money as people write it."""
    whole = rng.choice([rng.randrange(2, 40), rng.randrange(5, 100) * 5, rng.randrange(1, 40) * 50])
    styles = [f"{whole} euros", f"{whole} pounds", f"${whole}", f"{whole} dollars", f"${whole}.{rng.randrange(10, 99)}"]
    return rng.choice(styles)


def clock(rng: random.Random) -> str:
    """A time of day as people write it."""
    hour = rng.randrange(1, 13)
    return rng.choice(
        [f"{hour} o'clock", f"{hour}:{rng.choice(['15', '30', '45', '05'])}", f"half past {hour}", f"{hour} pm"]
    )


def punctuate(text: str) -> str:
    """Adds the end mark that the sentence asks for, unless it has one."""
    if text[-1] in ".?!:":
        return text
    return text + ("?" if QUESTION.match(text) or LAST_CLAUSE.search(text) else ".")


def capitalise(text: str) -> str:
    """Upper-cases the first letter only."""
    return text[:1].upper() + text[1:]


def misspell(text: str, *, rng: random.Random) -> str:
    """One slip of the finger in one longer word: two letters swapped, one dropped or one doubled."""
    words = [match for match in WORD.finditer(text)]
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randrange(1, len(word[0]) - 2)
    slip = rng.randrange(3)
    if slip == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if slip == 1:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


def spell_label(phrase: str, style: str) -> str:
    """Writes a label's words in a naming style: snake, title, plain, kebab, pascal or upper."""
    words = phrase.split()
    if style == "snake":
        return "_".join(words).lower()
    if style == "title":
        return " ".join(capitalise(word) for word in words)
    if style == "kebab":
        return "-".join(words).lower()
    if style == "pascal":
        return "".join(capitalise(word) for word in words)
    if style == "upper":
        return "_".join(words).upper()
    return phrase
