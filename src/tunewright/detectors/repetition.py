"""repetition: texts that say the same over and over, as a stuck model or a scraped page does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.detectors._rows import Rows

# Rae et al. 2021 (Gopher), arXiv 2112.11446, table A1: shares of a text from which on it is repetitive.
DUPLICATE_LINES, DUPLICATE_LINE_CHARACTERS = 0.30, 0.20
DUPLICATE_PARAGRAPHS, DUPLICATE_PARAGRAPH_CHARACTERS = 0.30, 0.20
TOP_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_MOST_WORDS = 5_000  # of a text that are looked at
_WORD_SHARE = 0.35  # of words that differ; below it a short text is looked at for loops
_LOOP = re.compile(r"(?<!\w)(\S.{0,79}?)(?:[\s,.!?;]+\1){4,}(?!\w)", re.DOTALL)
_FENCED = re.compile(r"```.*?(?:```|$)", re.DOTALL)


class Repetition(Detector):
    """Measures answers and documents by the shares that the Gopher project filtered by, without code blocks; shorter
    texts by phrases that come five times in a row.
    """

    fixes: ClassVar[tuple[str, ...]] = ("repetition",)

    words: int = Field(200, ge=50, description="shorter texts are looked at for loops and equal lines alone")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(scene, self.words)


class _Watch:
    def __init__(self, scene: Scene, words: int) -> None:
        self.words = words
        self.rows = Rows(scene)
        self.reasons: Counter[str] = Counter()

    def see(self, row: Seen) -> None:
        """Measure what would be learned."""
        example = row.example
        if example.label is not None or example.spans is not None:
            return
        text = example.text if example.text is not None else example.answer
        if not text or len(text) < 20:
            return
        if "```" in text:
            text = _FENCED.sub("\n", text)
        reason = repeats(text, self.words)
        if reason is not None:
            self.reasons[reason] += 1
            self.rows.add(row, text)

    def faults(self) -> Iterable[Fault]:
        """The repetitive rows."""
        if not self.rows:
            return
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common())
        yield self.rows.fault(
            name="repetition",
            severity="warning",
            message=f"{len(self.rows):,} texts repeat themselves ({reasons}): a model learns such loops quickly.",
            remedy="Look at them; verses and tables may stay, loops should go.",
        )


def repeats(text: str, least_words: int = 200) -> str | None:
    """How a text repeats itself; None where it does not."""
    words = text.split(None, _MOST_WORDS)[:_MOST_WORDS]
    if len(words) > 8 and len(set(words)) < _WORD_SHARE * len(words) and _LOOP.search(text[: 20 * _MOST_WORDS]):
        return "loops"
    return _of_lines(text) or (_of_words(words) if len(words) >= least_words else None)


def _of_lines(text: str) -> str | None:
    shown = text[: 20 * _MOST_WORDS]
    if "\n" not in shown:
        return None
    for what, pieces, share, characters in (
        ("lines", shown.split("\n"), DUPLICATE_LINES, DUPLICATE_LINE_CHARACTERS),
        ("paragraphs", re.split(r"\n\s*\n", shown), DUPLICATE_PARAGRAPHS, DUPLICATE_PARAGRAPH_CHARACTERS),
    ):
        own = [piece.strip() for piece in pieces if any(map(str.isalpha, piece))]
        if len(own) < 4:
            continue
        again = [piece for piece, seen in _later(own) if seen]
        if len(again) > share * len(own) or sum(map(len, again)) > characters * sum(map(len, own)):
            return f"duplicate {what}"
    return None


def _later(pieces: list[str]) -> Iterable[tuple[str, bool]]:
    """Each piece, and whether it was there before."""
    before: set[str] = set()
    for piece in pieces:
        yield piece, piece in before
        before.add(piece)


def _of_words(words: list[str]) -> str | None:
    lengths = [len(word) for word in words]
    total = sum(lengths)
    for size, share in TOP_NGRAMS.items():
        runs = Counter(zip(*(words[start:] for start in range(size)), strict=False))
        top, times = runs.most_common(1)[0]
        if times > 2 and times * sum(map(len, top)) > share * total:
            return f"most frequent {size} words"
    for size, share in DUPLICATE_NGRAMS.items():
        again = _again(words, lengths, size)
        if again > share * total:
            return f"duplicate runs of {size} words"
        if again < DUPLICATE_NGRAMS[10] * total:  # longer runs that repeat lie inside these
            return None
    return None


def _again(words: list[str], lengths: list[int], size: int) -> int:
    """Characters of words that lie in a run of words that was there before."""
    before: set[tuple[str, ...]] = set()
    covered = bytearray(len(words))
    for start, run in enumerate(zip(*(words[begin:] for begin in range(size)), strict=False)):
        if run in before:
            covered[start : start + size] = b"\x01" * size
        before.add(run)
    return sum(length for length, is_again in zip(lengths, covered, strict=True) if is_again)
