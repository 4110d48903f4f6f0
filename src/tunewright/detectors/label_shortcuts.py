"""Facts that tell the label and should not: a column, a code in the text, the length, the file a row comes from."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.spans import DAY_SECONDS
from tunewright.data import chance
from tunewright.data.class_names import several
from tunewright.data.clean import prompt_text
from tunewright.data.drawn import Drawn
from tunewright.data.moments import seconds

_LEAST_ROWS = 100
_LEAST_CODES = 50  # rows with a code
_SHARE_WITH_CODES = 0.1
_CODE = re.compile(r"[A-Za-z]{0,8}[-_#/:]?\d[\dA-Za-z._/:-]*\d|[A-Za-z]{1,8}[-_#]\d+")
_LETTERS = re.compile(r"[^\W\d]*")
_DIGITS = re.compile(r"\d+")
_MOST_COLUMNS = 50
_CHARACTERS = 2000
_REMEDIES = {
    "column": "The model does not see it: keep it out of the prompt; if it says where rows come from, split by it "
    "(data.split.group).",
    "code": "Take such codes out of the prompts, unless they will be there and mean the same when the model is asked.",
    "length": "Bring rows of each label in all lengths, or the model may learn the length.",
    "source": "Mix files of one kind: what else differs between them (style, form) would be learned for the label.",
}
_REPEATED = 3  # rows a value must have on average, to be a value and no name of a row


class LabelShortcuts(Detector):
    """Guesses held-out labels from one fact alone, and compares with guessing blindly and with shuffled labels.

    A fact that puts right `gain` of what blind guessing gets wrong is told. Of a code, an id or a date what may tell is
    its letters, its beginning, its size, the year or the weekday.
    """

    gain: float = Field(0.3, gt=0, le=1, description="share of the blind guesses' mistakes that a fact puts right")
    most: int = Field(20_000, ge=100, description="rows that are looked at, drawn evenly")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    """Keeps the facts of the rows that are looked at."""

    def __init__(self, options: LabelShortcuts, scene: Scene) -> None:
        self.options, self.scene = options, scene
        kept = np.sort(np.concatenate(list(scene.sides.values())))
        label = scene.label[kept]
        sizes = np.bincount(label[label >= 0], minlength=1)
        classes = int((sizes > 0).sum())
        fit = 2 <= classes <= max(20, len(kept) // 5) and not any(several(name) for name in scene.labels[:20])
        self.drawn = Drawn(kept[label >= 0] if fit else kept[:0], options.most)
        self.meta: list[dict[str, object]] = []
        self.texts: list[str] = []
        self.length: list[int] = []
        self.source: list[str] = []

    def see(self, row: Seen) -> None:
        """Keep the facts of a row."""
        if row.number not in self.drawn:
            return
        text = prompt_text(row.example)
        self.texts.append(text[:_CHARACTERS])
        self.length.append(len(text))
        self.meta.append(row.example.meta)
        self.source.append(row.example.id.rpartition(":")[0])

    def faults(self) -> Iterable[Fault]:
        """Facts from which the label can be told."""
        if len(self.drawn.rows) < _LEAST_ROWS:
            return
        label = np.unique(self.scene.label[self.drawn.rows], return_inverse=True)[1]
        if label.max() == 0:
            return
        every = self.drawn.rows
        lengths = np.array(self.length)
        guess = self._best([chance.bins(lengths)], label)
        yield from self._told("length", "length of the prompt", guess, every, f"{lengths[0]} characters")
        guess = self._best([chance.codes(self.source)], label)
        yield from self._told("source", "file", guess, every, self.source[0])
        yield from self._columns(label)
        yield from self._codes(label)

    def _best(self, facts: list[np.ndarray], label: np.ndarray) -> chance.Guess | None:
        guesses = [chance.guess(fact, label, least=self.options.gain) for fact in facts if fact.max() > 0]
        best = max(guesses, key=lambda guess: guess.gain, default=None)
        return best if best is not None and best.gain >= self.options.gain else None

    def _told(
        self, kind: str, what: str, guess: chance.Guess | None, rows: np.ndarray, shown: str, more: str = ""
    ) -> Iterable[Fault]:
        if guess is None:
            return
        blind = max(guess.blind, guess.shuffled)
        yield Fault(
            name=f"label_by_{kind}",
            severity="info" if kind in ("column", "source") else "warning",
            message=(
                f"The {what} alone tells the label of {guess.right:.0%} of rows; {blind:.0%} are right by "
                f"chance{self.drawn.told()}.{more}"
            ),
            rows=rows,
            example=f"{shown} -> {self.scene.labels[self.scene.label[rows[0]]]}",
            remedy=_REMEDIES[kind],
        )

    def _columns(self, label: np.ndarray) -> Iterable[Fault]:
        """The columns that tell, as one fault."""
        told: list[tuple[float, str, chance.Guess]] = []
        for name in sorted({name for meta in self.meta for name in meta})[:_MOST_COLUMNS]:
            values = [str(meta.get(name)) for meta in self.meta]
            if _is_label(chance.codes(values), label):
                continue  # the label by another name
            guess = self._best(facts_of(values), label)
            if guess is not None:
                told.append((-guess.gain, name, guess))
        if not told:
            return
        (_, first, guess), *others = sorted(told, key=lambda one: one[:2])
        having = [number for number, meta in enumerate(self.meta) if meta.get(first) not in (None, "")]
        more = f" Others tell it, too: {', '.join(name for _, name, _ in others)}." if others else ""
        rows = self.drawn.rows[having]
        yield from self._told("column", f"column {first}", guess, rows, str(self.meta[having[0]][first])[:80], more)

    def _codes(self, label: np.ndarray) -> Iterable[Fault]:
        """Codes, ids, dates and numbers in texts, where many have one: what it says should not tell."""
        found = [_CODE.search(text) for text in self.texts]
        at = np.array([number for number, code in enumerate(found) if code is not None], np.int64)
        if len(at) < max(_LEAST_CODES, _SHARE_WITH_CODES * len(found)):  # few: amounts, which belong to a topic
            return
        codes = [code.group() for code in found if code is not None]
        own = np.unique(label[at], return_inverse=True)[1]
        guess = self._best(facts_of(codes), own) if own.max() > 0 else None
        yield from self._told("code", "code or number in a text", guess, self.drawn.rows[at], codes[0])


def _is_label(fact: np.ndarray, label: np.ndarray) -> bool:
    """Whether a fact parts the rows just as the label does."""
    pairs = len(np.unique(fact * (int(label.max()) + 1) + label))
    return pairs == len(np.unique(fact)) == len(np.unique(label))


def facts_of(values: Sequence[str]) -> list[np.ndarray]:
    """What may tell of a column's values: the value itself (where values repeat), parts of it, its size, a date's
    parts.
    """
    texts = [value[:100] for value in values]
    facts: list[list[Hashable]] = [[_LETTERS.match(text).group() for text in texts]]  # type: ignore[union-attr]
    facts.append([digits.group()[:2] if (digits := _DIGITS.search(text)) else "" for text in texts])
    if len(set(texts)) * _REPEATED <= len(texts):
        facts.insert(0, list(texts))
    found = [chance.codes(fact) for fact in facts if len(set(fact)) * _REPEATED <= len(fact)]
    sizes = np.array([float(digits.group()[:15]) if (digits := _DIGITS.search(text)) else -1.0 for text in texts])
    if sizes.max(initial=-1) >= 0:
        found.append(chance.bins(sizes))
    if any(mark in text and np.isfinite(seconds(text)) for text in texts[:5] for mark in "-./:"):
        when = np.array([seconds(text) for text in texts])
        if np.isfinite(when).mean() > 0.5:
            when = np.where(np.isfinite(when), when, -1.0)
            found += [chance.bins(when), (when // DAY_SECONDS % 7).astype(np.int64)]
    return found
