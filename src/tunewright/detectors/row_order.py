"""Files in an order: by label, by time, by length, or by what rows are about."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data.clean import prompt_text
from tunewright.data.features import tfidf
from tunewright.data.moments import seconds

_LEAST_ROWS = 50  # of a file
_LENGTHS = 20_000  # of the first rows of a file
_LOOKED_AT = 2000  # the first rows of a file, whose columns and texts are compared
_CHARACTERS = 1000
_SURE = 6.0  # standard deviations above what shuffling gives
_EPOCHS = 3e8, 4e9  # a bare number between these may be a moment: 1979 to 2096
_ALIKE = 3.0  # times as alike as rows at random
_LEAST_ALIKE = 0.05  # cosine by which neighbours are more alike


class RowOrder(Detector):
    """Compares neighbours in a file with rows at random: labels, lengths, dates and words.

    Training shuffles, so an order does no harm there. It matters where rows are split: time passes, and rows about one
    document belong on one side.
    """

    sorted: float = Field(0.5, gt=0, lt=1, description="share of neighbours in order, beyond chance, to be told")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self.sorted, scene)


class _File:
    """What is kept of a file's rows: the number of the label, and more of the first ones."""

    def __init__(self) -> None:
        self.label, self.length = array("i"), array("i")
        self.texts: list[str] = []
        self.meta: list[dict[str, object]] = []


class _Watch:
    def __init__(self, least: float, scene: Scene) -> None:
        self.least, self.scene = least, scene
        self.files: dict[str, _File] = {}

    def see(self, row: Seen) -> None:
        """Keep the row's place, length and, of the first, words and columns."""
        name = row.example.id.rpartition(":")[0]
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = _File()
        text = prompt_text(row.example)
        file.label.append(int(self.scene.label[row.number]))
        if len(file.length) < _LENGTHS:
            file.length.append(len(text))
        if len(file.texts) < _LOOKED_AT:
            file.texts.append(text[:_CHARACTERS])
            file.meta.append(row.example.meta)

    def faults(self) -> Iterable[Fault]:
        """The files that are in an order, in one fault."""
        told: list[tuple[str, str, str]] = []  # file, order, remedy
        num_rows = num_files = 0
        for name, file in self.files.items():
            orders = list(self._orders(file)) if len(file.label) >= _LEAST_ROWS else []
            if orders:
                num_rows, num_files = num_rows + len(file.label), num_files + 1
                told += [(name, order, remedy) for order, remedy in orders]
        if not told:
            return
        shown = "; ".join(f"{name}: {order}" for name, order, _ in told[:5])
        yield Fault(
            name="ordered_rows",
            message=f"Rows of {num_files:,} of {len(self.files):,} files are in an order. Training shuffles them.",
            count=num_rows,
            example=shown,
            remedy=" ".join(dict.fromkeys(remedy for *_, remedy in told)),
        )

    def _orders(self, file: _File) -> Iterable[tuple[str, str]]:
        label = np.frombuffer(file.label, np.int32)
        known = label[label >= 0]
        nothing = "Nothing to do for blocks of labels and for lengths: no stage takes rows in the order of the file."
        share = blocks(known, self.least) if len(known) >= _LEAST_ROWS else None
        if share is not None:
            yield f"by label ({share:.0%} of neighbours have the same)", nothing
        length = np.frombuffer(file.length, np.int32)
        if len(np.unique(length)) > 10 and abs(neighbours(length)) > 0.9:
            yield "by length", nothing
        for column in sorted({name for meta in file.meta[:_LEAST_ROWS] for name in meta}):
            if column != self.scene.data.split.time and _in_time([meta.get(column) for meta in file.meta]):
                yield (
                    f"by time ({column})",
                    f"If the model will answer later messages than it has learned from, split by time: data.split: "
                    f"{{time: {column}}}.",
                )
        if share is not None or self.scene.data.split.group is not None:
            return  # rows of one label are alike anyway; groups are known already
        if (times := _alike(file.texts)) is not None:
            yield (
                f"by what they are about (neighbours are {times:.1f} times as alike as rows at random)",
                "If neighbours belong together (one document, one conversation), name the column that says so in "
                "data.split.group, so that they stand on one side.",
            )


def blocks(label: np.ndarray, least: float) -> float | None:
    """The share of neighbours with one label, where it is so much above chance; else None.

    Chance is n_k (n_k - 1) over n (n - 1), added up over the labels k, its deviation that of as many draws.
    """
    count = len(label)
    sizes = np.bincount(label).astype(float)
    chance = float((sizes * (sizes - 1)).sum() / (count * (count - 1)))
    same = float((label[1:] == label[:-1]).mean())
    deviation = max(1e-9, np.sqrt(chance * (1 - chance) / (count - 1)))
    sure = (same - chance) / deviation > _SURE
    return same if chance < 1 and sure and (same - chance) / (1 - chance) >= least else None


def neighbours(values: np.ndarray) -> float:
    """Correlation of each row's rank with the next one's (Wald & Wolfowitz 1943)."""
    from scipy.stats import rankdata

    ranks = rankdata(values)
    if ranks.std() == 0:
        return 0.0
    return float(np.corrcoef(ranks[1:], ranks[:-1])[0, 1])


def _in_time(values: list[object]) -> bool:
    """Whether a column holds moments that rise or fall from row to row."""
    if len(values) < _LEAST_ROWS or not any(_may_be_moment(value) for value in values[:5]):
        return False
    when = np.array([seconds(value) if _may_be_moment(value) else np.nan for value in values])
    when = when[np.isfinite(when)]
    if len(when) < max(_LEAST_ROWS, 0.9 * len(values)) or len(np.unique(when)) < 10:
        return False
    steps = np.diff(when)
    return bool(max((steps >= 0).mean(), (steps <= 0).mean()) > 0.95)


def _may_be_moment(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 40 and sum(map(str.isdigit, value)) >= 4 and not value.isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool) and _EPOCHS[0] < value < _EPOCHS[1]


def _alike(texts: list[str]) -> float | None:
    """How many times as alike neighbours are as rows at random (mean cosine of TF-IDF); None where it is no order."""
    if len(texts) < _LEAST_ROWS:
        return None
    features = tfidf(texts)
    near = np.asarray(features[1:].multiply(features[:-1]).sum(axis=1)).ravel()
    draw = np.random.default_rng(0)
    order = draw.permutation(len(texts))
    far = np.asarray(features[order[1:]].multiply(features[order[:-1]]).sum(axis=1)).ravel()
    sure = (near.mean() - far.mean()) / max(1e-9, np.sqrt((near.var() + far.var()) / len(near)))
    times = float(near.mean() / max(1e-9, far.mean()))
    return times if times >= _ALIKE and near.mean() - far.mean() >= _LEAST_ALIKE and sure > _SURE else None
