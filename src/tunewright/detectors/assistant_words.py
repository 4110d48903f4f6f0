"""assistant_words: answers that speak as another maker's assistant, and refusals by rote."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.detectors._rows import Rows, around

_CANT = "(?:can't|cannot|can not|won't|(?:am|'m) (?:not able|unable))"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE)


_SPEAKS = _any(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|machine learning|chatbot)\b",
    r"\bi(?:'m| am) (?:just |only |simply )?an? (?:ai\b|artificial intelligence|(?:large )?language model)",
    r"\b(?:my|the) (?:knowledge|training)(?: data)?(?: has a| only goes)?(?:'s)? cut-?off",
    r"\bmy (?:last )?(?:knowledge|training) (?:update|data)\b",
    r"\bi(?:'m| am) (?:chatgpt|gpt-?\d|claude|gemini|llama|bard|bing|copilot)\b",
    r"\b(?:developed|created|trained|made) by (?:openai|anthropic|google|meta ai|deepmind|mistral|deepseek|alibaba)\b",
    r"\bals (?:ki|ein)[- ]?(?:sprach)?modell\b",
    r"\ben tant qu'(?:ia|intelligence artificielle|mod\u00e8le de langage)",
    r"\bcomo (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b",
)
_REFUSES = _any(
    r"\A\W*(?:(?:i(?:'m| am) (?:very |really |so )?sorry|sorry|my apologies|i apologi[sz]e|unfortunately|i regret)"
    rf"[^.!?\n]{{0,60}}?\b(?:i |we )?{_CANT}\b",
    rf"i {_CANT} (?:assist|help|comply|fulfil|provide|support|engage|do that|answer|discuss|create|write|generate)",
    r"es tut mir leid[^.!?\n]{0,40}(?:kann|darf) (?:ich )?(?:ihnen |dir )?(?:dabei |das )?nicht",
    r"lo siento[^.!?\n]{0,30}no puedo",
    r"je suis d\u00e9sol\u00e9[^.!?\n]{0,30}je ne peux pas)",
)
_ASKS = _any(
    r"\b(?:who|which company|what company) (?:made|created|built|trained|developed|owns) you\b",
    r"\bwhat(?:'s| is) your (?:name|knowledge cut-?off|training data)\b",
    r"\bwhat (?:ai|language )?model are you\b",
    r"\bare you (?:chatgpt|gpt-?\d|claude|gemini|llama|bard|an ai|a bot|a robot|human|sentient|conscious)\b",
    r"^\W*who are you\W*$",
    r"\bwer hat dich (?:gemacht|entwickelt|trainiert)\b|\bwie hei\u00dft du\b",
    r"\bqui t'a cr\u00e9\u00e9",
)
# One of these is in what the patterns find; looked for first, as it is many times faster.
_SPEAKS_HINTS = (
    " ai", "language model", "artificial", "machine learning", "chatbot", "cutoff", "cut-off", "cut off", "knowledge",
    "training", "gpt", "claude", "gemini", "llama", "bard", "bing", "copilot", "openai", "anthropic", "google",
    "meta ai", "deepmind", "mistral", "deepseek", "alibaba", "modell", " ki", " ia", "lenguaje", "langage",
    "inteligencia",
)  # fmt: skip
_ASKS_HINTS = ("you", "wie hei", "wer hat dich", "qui t")


class AssistantWords(Detector):
    """Looks at the answers that are learned (of pairs the better one), and at what users ask about the model."""

    fixes: ClassVar[tuple[str, ...]] = ("assistant_boilerplate", "refusals", "asks_about_model")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(scene)


class _Watch:
    def __init__(self, scene: Scene) -> None:
        self.speaks, self.refuses, self.asks = Rows(scene), Rows(scene), Rows(scene)
        self.num_answers = 0

    def see(self, row: Seen) -> None:
        """Look at the answers of a conversation."""
        example = row.example
        if example.label is not None or example.spans is not None:
            return
        learned = [one.content for one in example.messages if one.role == "assistant" and one.weight != 0]
        self.num_answers += bool(learned)
        for answer in learned:
            found = _searched(_SPEAKS, _SPEAKS_HINTS, answer)
            if found:
                self.speaks.add(row, around(answer, *found.span()))
                break
        for answer in learned:
            found = _REFUSES.match(_plain(answer))
            if found:
                self.refuses.add(row, answer)
                break
        for message in example.messages:
            found = _searched(_ASKS, _ASKS_HINTS, message.content) if message.role == "user" else None
            if found:
                self.asks.add(row, f"{around(message.content, *found.span())} -> {example.answer or ''}")
                break

    def faults(self) -> Iterable[Fault]:
        """What was found, each kind apart."""
        if self.speaks:
            yield self.speaks.fault(
                name="assistant_boilerplate",
                severity="warning",
                message=f"{len(self.speaks):,} answers speak as another maker's assistant ('as an AI language model', "
                "a date where knowledge ends, a maker's name).",
                remedy="Leave them out, or write what your assistant should say.",
            )
        if self.refuses:
            share = len(self.refuses) / max(1, self.num_answers)
            yield self.refuses.fault(
                name="refusals",
                message=f"{len(self.refuses):,} answers ({share:.1%}) begin with a refusal; beyond what you mean to be "
                "refused, models learn to refuse too much.",
                remedy="Keep those that should be; leave out the rest.",
            )
        if self.asks:
            yield self.asks.fault(
                name="asks_about_model",
                message=f"{len(self.asks):,} rows ask what the assistant is or who made it.",
                remedy="Check that the answers say what yours should say.",
            )


def _searched(pattern: re.Pattern[str], hints: tuple[str, ...], text: str) -> re.Match[str] | None:
    text = _plain(text)
    lowered = text.lower()
    return pattern.search(text) if any(hint in lowered for hint in hints) else None


def _plain(text: str) -> str:
    return text if text.isascii() else text.replace("\u2019", "'")
