"""The text written for nano: customer messages with intents in our own words, tones and urgencies, and small facts."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from grammar import Grammar, capitalise, misspell, punctuate
from sources import is_measured_on

PHRASES = Path(__file__).parent / "phrases"
INTENT_FILES = ("banking.txt", "banking-more.txt", "service.txt", "home.txt")


@dataclass
class Intent:
    """One purpose of a customer, with the sentences that express it and the answers to it."""

    domain: str
    phrase: str
    sentences: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Message:
    """A generated customer message; tone and urgency are None where nothing in it shows them."""

    text: str
    intent: Intent
    tone: str | None = None
    urgency: str | None = None


class Synonyms:
    """Swaps words for others of the same meaning, so that one template has more than one wording."""

    def __init__(self, path: Path) -> None:
        self.choices = read_lists(path)
        longest_first = sorted(self.choices, key=len, reverse=True)
        self.pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b")

    def vary(self, text: str, *, rng: random.Random, share: float = 0.5) -> str:
        """The text with about `share` of the known words drawn anew."""
        return self.pattern.sub(
            lambda match: rng.choice(self.choices[match[1]]) if rng.random() < share else match[1], text
        )


class Written:
    """Every phrase bank, loaded once; draws messages, replies and facts from them."""

    def __init__(self) -> None:
        self.grammar = Grammar(PHRASES / "slots.txt")
        self.intents = merge([intent for name in INTENT_FILES for intent in read_intents(PHRASES / name)])
        self.synonyms = Synonyms(PHRASES / "synonyms.txt")
        self.domains = sorted({intent.domain for intent in self.intents})
        self.tones = read_lists(PHRASES / "tones.txt")
        self.facts = read_facts(PHRASES / "knowledge.txt")
        self.prose = read_prose(PHRASES / "prose.txt")

    def sentence(self, intent: Intent, *, rng: random.Random) -> str:
        """One bare sentence with the intent: lower-case start, no end mark."""
        while True:
            text = self.synonyms.vary(self.grammar.expand(rng.choice(intent.sentences), rng=rng), rng=rng)
            if not is_measured_on(text):
                return text

    def reply(self, intent: Intent, *, rng: random.Random) -> str:
        """An agent's answer to the intent."""
        return self.grammar.expand(rng.choice(intent.replies), rng=rng)

    def message(self, intent: Intent, *, rng: random.Random) -> Message:
        """A message as a customer would type it: greeting, slips and end marks come and go."""
        text = self.sentence(intent, rng=rng)
        if rng.random() < 0.3:
            text = self._wrap(text, tone="neutral", rng=rng)
        elif rng.random() < 0.15:
            text = f"{punctuate(text)} {rng.choice(self.grammar.slots['problem_end'])}"
        return Message(roughen(text, rng=rng), intent)

    def toned_message(self, intent: Intent, *, rng: random.Random) -> Message:
        """A message whose wording shows a tone."""
        tone = rng.choice(["polite", "angry", "worried", "happy", "neutral"])
        text = self.sentence(intent, rng=rng)
        text = punctuate(text) if tone == "neutral" else self._wrap(text, tone=tone, rng=rng, always=True)
        return Message(roughen(text, rng=rng), intent, tone=tone)

    def timed_message(self, intent: Intent, *, rng: random.Random) -> Message:
        """A message that says whether it is urgent."""
        urgency = rng.choice(["urgent", "not urgent"])
        mark = rng.choice(self.tones[urgency])
        parts = [punctuate(self.sentence(intent, rng=rng)), mark]
        if rng.random() < 0.3:
            parts.reverse()
        return Message(roughen(" ".join(parts), rng=rng), intent, urgency=urgency)

    def _wrap(self, text: str, *, tone: str, rng: random.Random, always: bool = False) -> str:
        has_opener = rng.random() < 0.6
        has_closer = rng.random() < 0.5 or (always and not has_opener)
        text = punctuate(text)
        if has_opener:
            opener = rng.choice(self.tones[f"opener {tone}"])
            text = f"{opener} {text if opener[-1] in ',:t' else capitalise(text)}"
        if has_closer:
            text = f"{text} {capitalise(rng.choice(self.tones[f'closer {tone}']))}"
        return text


def roughen(text: str, *, rng: random.Random) -> str:
    """Gives a sentence one of the ways in which people type: careful, lower case, without end mark, with a slip."""
    draw = rng.random()
    if draw < 0.5:
        text = capitalise(punctuate(text))
    elif draw < 0.75:
        text = text.lower().rstrip(".?!")
    elif draw < 0.9:
        text = punctuate(text).lower()
    else:
        text = capitalise(text)
    if rng.random() < 0.06:
        text = misspell(text, rng=rng)
    if rng.random() < 0.06:
        text = text.replace("n't", "nt").replace("I'm", "Im").replace("I'd", "Id")
    return text


def read_intents(path: Path) -> list[Intent]:
    """Reads `= domain : phrase`, `> reply`, `~ verb phrase` (asked for in many ways) and plain sentences."""
    intents: list[Intent] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            domain, _, phrase = line[2:].partition(" : ")
            intents.append(Intent(domain, phrase))
        elif line.startswith("> "):
            intents[-1].replies.append(line[2:])
        elif line.startswith("~ "):
            # a verb phrase stands for many sentences, so it counts twice in the draw
            intents[-1].sentences += ["{ask} " + line[2:]] * 2
        elif line:
            intents[-1].sentences.append(line)
    return intents


def merge(intents: list[Intent]) -> list[Intent]:
    """One intent for each domain and phrase, with the sentences and replies of all its entries."""
    found: dict[tuple[str, str], Intent] = {}
    for intent in intents:
        known = found.setdefault((intent.domain, intent.phrase), Intent(intent.domain, intent.phrase))
        known.sentences += intent.sentences
        known.replies += intent.replies
    return list(found.values())


def read_lists(path: Path) -> dict[str, list[str]]:
    """Reads lines of `name: a|b|c`."""
    pairs = (line.partition(": ") for line in path.read_text(encoding="utf-8").splitlines() if line)
    return {name: values.split("|") for name, _, values in pairs}


def read_facts(path: Path) -> dict[str, list[tuple[str, ...]]]:
    """Reads sections `# name: fields` whose body is `a=b|c=d`."""
    facts: dict[str, list[tuple[str, ...]]] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            name = line[2:].partition(":")[0]
            facts[name] = []
        elif line:
            facts[name] += [tuple(entry.split("=")) for entry in line.split("|")]
    return facts


def read_prose(path: Path) -> list[tuple[str, str]]:
    """Reads (title, text) pieces: a `# title` line, then one line of text."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [(title[2:], text) for title, text in zip(lines[::2], lines[1::2], strict=True)]
