"""Rows to learn from that a classifier can tell from rows that measure: they come from somewhere else."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import guessing
from tunewright.data.clean import prompt_text
from tunewright.data.drawn import Drawn
from tunewright.data.features import tfidf

_LEAST_ROWS = 50  # of each side
_CHARACTERS = 1000
_SHUFFLES = 19  # one in twenty classifiers of rows that do not differ is above all of them
_SHOWN = 8


class SidesDiffer(Detector):
    """Trains a classifier to tell training rows from test (validation) rows, and from shuffled ones.

    Told where the area under its ROC curve on held-out rows is at least `area` and above that of all shuffles
    (Lopez-Paz & Oquab 2017). Rows that were parted by chance are not looked at: they cannot differ.
    """

    area: float = Field(0.65, gt=0.5, lt=1, description="under the ROC curve, 0.5 is chance: from which on it is told")
    most: int = Field(2000, ge=100, description="rows of each side that are looked at, drawn evenly")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, options: SidesDiffer, scene: Scene) -> None:
        self.options, self.scene = options, scene
        own = scene.data.split.time is not None or scene.data.split.group is not None
        compared = [side for side in ("validation", "test") if own or side in scene.given]
        self.drawn = {
            side: Drawn(scene.sides[side], options.most)
            for side in (["train", *compared] if compared else [])
            if len(scene.sides[side]) >= _LEAST_ROWS
        }

    def see(self, row: Seen) -> None:
        """Keep what is asked, of rows that are looked at."""
        drawn = self.drawn.get(row.side)
        if drawn is not None and row.number in drawn:
            drawn.texts.append(prompt_text(row.example)[:_CHARACTERS])

    def faults(self) -> Iterable[Fault]:
        """Each side that differs from the rows to learn from."""
        if "train" not in self.drawn:
            return
        for side, drawn in self.drawn.items():
            if side != "train":
                yield from self._compared(side, self.drawn["train"], drawn)

    def _compared(self, side: str, train: Drawn, other: Drawn) -> Iterable[Fault]:
        texts = train.texts + other.texts
        held = np.arange(len(texts)) >= len(train.texts)
        rows = np.concatenate([train.rows, other.rows])
        cluster = guessing.clusters(self.scene.asked, self.scene.near.first, self.scene.near.second)[rows]
        fold = guessing.folds(cluster)
        features = tfidf(texts)

        def area(which: np.ndarray) -> float:
            scores = guessing.bayes_scores(features, which.astype(np.int64), 2, fold)
            return guessing.area(scores[:, 1] - scores[:, 0], which)

        found = area(held)
        if found < self.options.area:
            return
        draw = np.random.default_rng(0)
        chance = max(area(draw.permutation(held)) for _ in range(_SHUFFLES))
        if found <= chance:
            return
        words = _telling(texts, held)
        yield Fault(
            name="sides_differ",
            severity="warning",
            message=(
                f"The {side} rows are not like those to learn from: a classifier tells them apart (area under the ROC "
                f"curve {found:.2f}; {chance:.2f} at most when shuffled){other.told()}."
            ),
            count=len(self.scene.sides[side]),
            example=f"more frequent in {side}: {', '.join(words)}" if words else None,
            remedy=(
                "Make sure that the model will be asked what the test asks, and bring training rows like it; a change "
                "in time is measured with data.split.time."
            ),
        )


def _telling(texts: list[str], held: np.ndarray) -> list[str]:
    """Words that stand in a larger share of the texts of the other side, the most telling first."""
    counts: dict[str, list[int]] = {}
    for text, other in zip(texts, held.tolist(), strict=True):
        for word in set(text.casefold().split()):
            counts.setdefault(word, [0, 0])[other] += 1
    num = len(texts) - int(held.sum()), int(held.sum())
    gains = {word: there / num[1] - here / num[0] for word, (here, there) in counts.items()}
    best = sorted(gains, key=lambda word: (-gains[word], word))[:_SHOWN]
    return [word for word in best if gains[word] > 0.02]
