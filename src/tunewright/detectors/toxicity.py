"""toxicity: rude words, slurs and threats by group. Words are not toxicity: people quote, report and joke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Message
from tunewright.data.rude_words import rude_words
from tunewright.data.showing import short
from tunewright.detectors._rows import Rows


class Toxicity(Detector):
    """Looks words up in a list (data/rude_words.py), also with digits or signs for letters; counts worse answers of
    pairs apart, as they are there to be avoided.
    """

    fixes: ClassVar[tuple[str, ...]] = ("toxicity",)

    groups: tuple[str, ...] = Field(
        ("profanity", "insults", "slurs", "sexual", "threats"), description="groups of words that are told"
    )

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(scene, frozenset(self.groups))


class _Watch:
    def __init__(self, scene: Scene, groups: frozenset[str]) -> None:
        self.scene, self.groups = scene, groups
        self.rows = Rows(scene)
        self.by_group: Counter[str] = Counter()
        self.where: Counter[str] = Counter()
        self.num_pairs = 0

    def see(self, row: Seen) -> None:
        """Look the words of a row up."""
        rejected = row.example.rejected
        self.num_pairs += rejected is not None
        found = self._of(row.said)
        if not found:
            return
        if row.example.text is None:
            parts = self._parts(row)
            self.where.update(parts.keys())
            found = {group: word for name, own in parts.items() if name != "rejected" for group, word in own.items()}
        if found:
            self.by_group.update(found.keys())
            word = next(iter(found.values()))
            at = max(0, row.said.lower().find(word) - 40)
            self.rows.add(row, f"'{word}' in: {short(row.said[at:], 90)}")

    def _of(self, text: str) -> dict[str, str]:
        return {group: word for group, word in rude_words(text).items() if group in self.groups}

    def _parts(self, row: Seen) -> dict[str, dict[str, str]]:
        example = row.example
        asked = len(example.prompt)
        parts: dict[str, list[Message]] = {
            "prompts": example.messages[:asked],
            "answers": example.messages[asked:],
            "rejected": example.rejected or [],
        }
        told = {name: self._of("\n".join(message.content for message in own)) for name, own in parts.items()}
        return {name: found for name, found in told.items() if found}

    def faults(self) -> Iterable[Fault]:
        """Rows with such words; figures go into the notes."""
        if self.by_group or self.where:
            self.scene.notes["toxicity"] = {"rows": dict(self.by_group.most_common()), "in": dict(self.where)}
        if not self.rows:
            return
        groups = ", ".join(f"{name} {count:,}" for name, count in self.by_group.most_common())
        pairs = ""
        if self.num_pairs:
            better, worse = self.where["answers"], self.where["rejected"]
            pairs = f" Of pairs, {better:,} better and {worse:,} worse answers hold some."
        yield self.rows.fault(
            name="toxicity",
            message=f"{len(self.rows):,} rows hold words that people take offence at ({groups}).{pairs} Words are not "
            "toxicity: people quote, report and joke; and much that hurts uses none of them.",
            remedy="Look at some of them. Data for safety needs such prompts; answers seldom do.",
        )
