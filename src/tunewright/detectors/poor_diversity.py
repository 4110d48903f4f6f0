"""poor_diversity: prompts or answers that are all alike: the same openings, the same runs of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen

_OPENING = 3  # words
_RUN = 4  # words of an n-gram that counts for variety
_WORDS = 100  # of a text
_LEAST_ROWS = 100
_COMPARED = 500  # rows whose words are compared pair by pair


class PoorDiversity(Detector):
    """Measures a sample of the rows to learn from: the share of the most frequent opening of three words, the share of
    runs of four words that differ (distinct-n, Li et al. 2016, arXiv 1510.03055), and how many words two rows share.
    """

    sample: int = Field(10_000, ge=100, description="rows looked at, evenly spread")
    opening: float = Field(0.3, gt=0, le=1, description="share of the most frequent opening from which on it is told")
    distinct: float = Field(0.2, ge=0, lt=1, description="share of different runs of four words below which it is told")
    shared: float = Field(0.5, gt=0, le=1, description="mean Jaccard similarity of two rows' words from which on")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Texts:
    """What is counted of one kind of text."""

    def __init__(self) -> None:
        self.openings: Counter[tuple[str, ...]] = Counter()
        self.runs: set[int] = set()
        self.num_texts = self.num_runs = 0
        self.words: list[set[str]] = []

    def add(self, text: str) -> None:
        """Count a text's words."""
        words = text[: 20 * _WORDS].lower().split()[:_WORDS]
        if not words:
            return
        self.num_texts += 1
        self.openings[tuple(words[:_OPENING])] += 1
        own = list(map(hash, zip(*(words[start:] for start in range(_RUN)), strict=False)))
        self.num_runs += len(own)
        self.runs.update(own)
        if len(self.words) < _COMPARED:
            self.words.append(set(words))

    def similarity(self) -> float:
        """Mean Jaccard similarity of the words of two texts."""
        names = {word: place for place, word in enumerate(sorted(set().union(*self.words)))}
        has = np.zeros((len(self.words), len(names)), np.float32)
        for place, words in enumerate(self.words):
            has[place, [names[word] for word in words]] = 1
        both = has @ has.T
        size = has.sum(axis=1)
        jaccard = both / (size[:, None] + size[None] - both)
        count = len(size)
        return float((jaccard.sum() - count) / (count * (count - 1)))


class _Watch:
    def __init__(self, detector: PoorDiversity, scene: Scene) -> None:
        self.detector, self.scene = detector, scene
        learned = len(scene.sides["train"])
        self.every = max(1, -(-learned // detector.sample))
        self.compared_every = max(1, min(learned, detector.sample) // _COMPARED)
        self.num_rows = 0
        self.texts = {"prompts": _Texts(), "answers": _Texts()}

    def see(self, row: Seen) -> None:
        """Count the words of a row to learn from, if it is in the sample."""
        if row.side != "train":
            return
        self.num_rows += 1
        if (self.num_rows - 1) % self.every:
            return
        example = row.example
        if example.text is not None:
            self.texts["prompts"].add(example.text)
            return
        asked = next((message.content for message in reversed(example.prompt) if message.role == "user"), "")
        self.texts["prompts"].add(asked)
        if example.label is None and example.spans is None:
            self.texts["answers"].add(example.answer or "")

    def faults(self) -> Iterable[Fault]:
        """What is alike; figures go into the notes."""
        notes: dict[str, dict[str, float | int]] = {}
        reasons, shown = [], ""
        for what, texts in self.texts.items():
            if texts.num_texts < _LEAST_ROWS:
                continue
            ((opening, times),) = texts.openings.most_common(1)
            first = times / texts.num_texts
            distinct = len(texts.runs) / texts.num_runs if texts.num_runs >= texts.num_texts else 1.0
            alike = texts.similarity()
            notes[what] = {
                "rows_looked_at": texts.num_texts, "most_frequent_opening_share": round(first, 4),
                "distinct_4grams_share": round(distinct, 4), "mean_similarity": round(alike, 4),
            }  # fmt: skip
            words = " ".join(opening)
            for is_told, sentence in (
                (first >= self.detector.opening, f"{first:.0%} of the {what} begin with '{words}'"),
                (distinct < self.detector.distinct, f"only {distinct:.0%} of their runs of four words differ ({what})"),
                (alike >= self.detector.shared, f"two {what} share {alike:.0%} of their words on average"),
            ):
                if is_told:
                    reasons.append(sentence)
                    shown = shown or f"{what}: {words} ..."
        if notes:
            self.scene.notes["variety"] = notes
        if reasons:
            yield Fault(
                name="poor_diversity",
                message=f"Rows are much alike: {'; '.join(reasons)}. The model learns the frame more than the content.",
                example=shown,
                remedy="Move a frame that all share into data.system, and add rows worded in other ways.",
            )
