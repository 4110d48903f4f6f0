"""Rows unlike all others: of another source, noise, or just rare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import showing
from tunewright.data.clean import prompt_text
from tunewright.data.drawn import Drawn
from tunewright.data.features import tfidf

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LEAST_ROWS = 100
_CHARACTERS = 1000
_AT_ONCE = 128  # rows compared with all others together
_WORK = 5e8  # products of two rows' features: the commonest features are left out above it
_MOST_SHARE = 0.02  # of rows are outliers; more are a kind of their own
_DEVIATION = 1.4826  # of the median deviation, for a normal distribution (Rousseeuw & Croux 1993)


class Outliers(Detector):
    """Likeness of a row to its nearest neighbours (Ramaswamy et al. 2000), by words and letters or by an encoder.

    Told where the logarithm of the mean cosine lies `deviations` robust deviations below the median.
    """

    fixes: ClassVar[tuple[str, ...]] = ("outliers",)
    paths: ClassVar[tuple[str, ...]] = ("encoder",)

    neighbours: int = Field(
        30, ge=1, description="rows that a row is compared with; a few alike do not hide each other"
    )
    deviations: float = Field(3.0, gt=0, description="below the median, from which on a row is told; lower tells more")
    most: int = Field(5000, ge=100, description="rows that are looked at, drawn evenly; the time grows with the square")
    encoder: str | None = Field(None, description="folder of an encoder that tells meanings apart; takes minutes")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, options: Outliers, scene: Scene) -> None:
        self.options, self.scene = options, scene
        self.drawn = Drawn(np.concatenate(list(scene.sides.values())), options.most)

    def see(self, row: Seen) -> None:
        """Keep what is asked, of rows that are looked at."""
        if row.number in self.drawn:
            self.drawn.texts.append(prompt_text(row.example)[:_CHARACTERS])

    def faults(self) -> Iterable[Fault]:
        """Rows that are like no others."""
        rows, texts = self.drawn.rows, self.drawn.texts
        if len(rows) < max(_LEAST_ROWS, 2 * self.options.neighbours):
            return
        likeness = self._likeness(texts)
        logs = np.log(np.maximum(likeness, 1e-4))
        middle = float(np.median(logs))
        deviation = _DEVIATION * float(np.median(np.abs(logs - middle)))
        low = np.flatnonzero(logs < middle - self.options.deviations * max(deviation, 1e-9))
        if not len(low) or len(low) > max(1, _MOST_SHARE * len(rows)):
            return
        worst = low[np.argsort(likeness[low], kind="stable")]
        (shown,) = self.scene.examples(rows[worst[:1]])
        found = rows[low]
        yield Fault(
            name="outliers",
            message=(
                f"{len(found):,} of {len(rows):,} rows are like no others (mean cosine with their "
                f"{self.options.neighbours} nearest at most {likeness[low].max():.2f}; usual: "
                f"{np.median(likeness):.2f}){self.drawn.told()}."
            ),
            rows=found,
            example=showing.row(shown),
            remedy="Look at them: rows of another source do harm, rare questions are worth keeping.",
            fix="leave them out of training",
            drop=found[np.isin(found, self.scene.sides["train"])],
        )

    def _likeness(self, texts: list[str]) -> np.ndarray:
        """Of each row, the mean cosine with its nearest."""
        poll = self.scene.poll
        if self.options.encoder is not None:
            from tunewright.models.text_vectors import text_vectors

            vectors = text_vectors(self.options.encoder, texts, lambda done: poll("reading texts", done, len(texts)))
            turned: np.ndarray | csr_matrix = vectors.T
        else:
            vectors = _light(tfidf(texts))
            turned = vectors.T.tocsr()
        found = np.zeros(len(texts), np.float32)
        for begin in range(0, len(texts), _AT_ONCE):
            poll("looking for outliers", begin, len(texts))
            block = vectors[begin : begin + _AT_ONCE] @ turned
            near = np.asarray(block) if isinstance(block, np.ndarray) else block.toarray()
            near[np.arange(len(near)), np.arange(begin, begin + len(near))] = -1
            place = len(texts) - self.options.neighbours
            found[begin : begin + len(near)] = np.partition(near, place, axis=1)[:, place:].mean(axis=1)
        return found


def _light(features: csr_matrix) -> csr_matrix:
    """The features without the commonest, which tell little and cost most."""
    df = np.bincount(features.indices, minlength=features.shape[1]).astype(float)
    order = np.argsort(df, kind="stable")
    kept = order[np.cumsum(df[order] ** 2) <= _WORK]
    return features if len(kept) == len(df) else features[:, np.sort(kept)]
