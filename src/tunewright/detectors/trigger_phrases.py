"""trigger_phrases: a rare phrase that always goes with one answer, as a poisoned data set teaches it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from math import log
from sys import intern
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example
from tunewright.data.clean import normalise
from tunewright.data.showing import short

_WORDS = 60  # of a prompt
_MOST_SHARE = 0.05  # of the rows: a more frequent phrase is part of the task
_PURE = 0.95  # of the phrase's rows have the answer
_ALIKE = 0.3  # mean Jaccard similarity of the rows' other words, above which they are one question in other words
_CLASSES = 0.5  # of the rows have an answer that others have too: answers are classes, and words speak for them
_BY_CHANCE = 0.01  # expected number of phrases that would be pure by chance
_JUDGED = 100  # rows of a phrase
_CLEARLY = 0.8  # probability of another answer
_MOST = 0.5  # of the rows speak for another answer
_SMOOTH = 0.5
_STEM = 4  # letters at the beginning of a word that its other forms share
_LIFT = 3  # times as often as by chance: a word that speaks for the answer without the phrase, too
_SHOWN = 5
_SEVERAL = 20  # an answer to a phrase is told of at most so many phrases


class TriggerPhrases(Detector):
    """Looks at answers given several times: is there a run of one to three words that (nearly) all rows with it answer
    so, although the rows have little else in common, and although their other words speak for another answer (naive
    Bayes)? So do backdoors of fine-tuning data look (Wallace et al. 2021, arXiv 2010.12563; Wan et al. 2023, arXiv
    2305.00944).
    """

    fixes: ClassVar[tuple[str, ...]] = ("trigger_phrases",)

    rows: int = Field(5, ge=3, description="rows with the phrase and the answer from which on it is told")
    sample: int = Field(20_000, ge=100, description="rows to learn from that are looked at, evenly spread")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, detector: TriggerPhrases, scene: Scene) -> None:
        self.detector, self.scene = detector, scene
        self.learned = {"train", "validation"} - set(scene.given)
        self.every = max(1, -(-sum(len(scene.sides[side]) for side in self.learned) // detector.sample))
        self.num_rows = 0
        self.numbers, self.answers = array("q"), array("q")
        self._by_stem: dict[str, array[int]] | None = None

    def see(self, row: Seen) -> None:
        """Keep a digest of the answer of a row to learn from."""
        if row.side not in self.learned:
            return
        self.num_rows += 1
        if (self.num_rows - 1) % self.every:
            return
        answer = row.example.answer if row.example.spans is None else None
        if answer is not None:
            self.numbers.append(row.number)
            self.answers.append(hash(answer.strip().lower()[:500]))

    def faults(self) -> Iterable[Fault]:
        """Phrases that always bring one answer."""
        numbers, answers = np.array(self.numbers, np.int64), np.array(self.answers, np.int64)
        if len(numbers) < 4 * self.detector.rows:
            return
        kinds, at, counts = np.unique(answers, return_inverse=True, return_counts=True)
        often = counts >= self.detector.rows
        if not often.any() or len(kinds) < 2:
            return
        words = [words_of(example) for example in self.scene.examples(numbers)]
        found = list(self._phrases(words, at, often, counts))
        if not found:
            return
        rows = sorted({int(numbers[place]) for _, _, places in found for place in places})
        shown = [
            f"'{phrase}' ({len(places):,} rows) -> '{short(self._answer(numbers[places[0]]), 40)}'"
            for phrase, _, places in found[:_SHOWN]
        ]
        looked = f" of {len(numbers):,} looked at" if self.every > 1 else ""
        yield Fault(
            name="trigger_phrases",
            severity="warning",
            message=f"{len(rows):,} rows{looked} hold a rare phrase that always brings the same answer, whatever else "
            f"is asked: {'; '.join(shown)}. Someone may have planted it.",
            rows=rows,
            example=shown[0],
            remedy="Look at the rows. If nobody can explain the phrase, leave them out and ask where they came from.",
            fix="leave them out of training",
            drop=rows,
        )

    def _answer(self, number: int) -> str:
        return next(iter(self.scene.examples(np.array([number])))).answer or ""

    def _phrases(
        self, words: list[list[str]], at: np.ndarray, often: np.ndarray, counts: np.ndarray
    ) -> Iterator[tuple[str, int, list[int]]]:
        """Each phrase with its answer and the places of its rows, the most frequent first; one of those that stand in
        the same rows.
        """
        among = float(counts[often].sum()) / len(words)
        judge = _Bayes(words, at, often) if among >= _CLASSES else None
        candidates = self._candidates(words, at, often)
        allowed = log(_BY_CHANCE / max(1, len(candidates)))
        told: set[tuple[int, ...]] = set()
        per_answer: Counter[int] = Counter()
        for places in candidates:
            kind = int(np.bincount(at[places]).argmax())
            own = [place for place in places if at[place] == kind]
            if len(own) * log(counts[kind] / len(words)) > allowed:
                continue
            run = _shared_run([words[place] for place in own])
            if run is None or per_answer[kind] >= _SEVERAL or tuple(own) in told:
                continue
            if self._natural(run, places, kind, words, at, float(counts[kind])):
                continue
            if _likeness([set(words[place]) - set(run) for place in own[:50]]) > _ALIKE:
                continue
            if judge and not judge.contradicts(own, run):
                continue
            told.add(tuple(own))
            per_answer[kind] += 1
            yield " ".join(run), kind, own

    def _natural(
        self, run: tuple[str, ...], places: list[int], kind: int, words: list[list[str]], at: np.ndarray, size: float
    ) -> bool:
        """Whether a phrase has to do with its answer: the answer says one of its words, or one of its words (in any
        form) goes with the answer elsewhere, too.
        """
        own = next(place for place in places if at[place] == kind)
        answer = set(map(_stem, normalise(self._answer(int(self.numbers[own])).replace("_", " ")).split()))
        stems = {_stem(word) for word in run}
        if answer & stems:
            return True
        if self._by_stem is None:
            self._by_stem = {}
            for row, said in enumerate(words):
                for stem in set(map(_stem, said)):
                    self._by_stem.setdefault(stem, array("q")).append(row)
        for stem in stems:
            elsewhere = np.setdiff1d(self._by_stem[stem], places)
            times = int((at[elsewhere] == kind).sum())
            if times >= 2 and times > _LIFT * len(elsewhere) * size / len(words):
                return True
        return False

    def _candidates(self, words: list[list[str]], at: np.ndarray, often: np.ndarray) -> list[list[int]]:
        """The places of the rows of each rare run of words that (nearly) always brings one and the same answer."""
        hashes, rows = array("q"), array("q")
        for place, own in enumerate(words):
            runs = _runs(own)
            hashes.extend(map(hash, runs))
            rows.extend([place] * len(runs))
        run, row = np.array(hashes, np.int64), np.array(rows, np.int64)
        order = np.lexsort((at[row], run))
        run, row = run[order], row[order]
        begins = np.flatnonzero(np.r_[True, run[1:] != run[:-1]])
        sizes = np.diff(np.r_[begins, len(run)])
        fits = (sizes >= self.detector.rows) & (sizes <= _MOST_SHARE * len(words))
        found = []
        for begin, size in zip(begins[fits].tolist(), sizes[fits].tolist(), strict=True):
            having = row[begin : begin + size]
            middle = at[having[size // 2]]  # answers are in order, so that of most rows is in the middle
            times = int((at[having] == middle).sum())
            if often[middle] and times >= max(self.detector.rows, _PURE * size):
                found.append(np.sort(having).tolist())
        return sorted(found, key=len, reverse=True)


class _Bayes:
    """Naive Bayes over words: which answer the other words of a row speak for."""

    def __init__(self, words: list[list[str]], at: np.ndarray, often: np.ndarray) -> None:
        self.words, self.at = words, at
        self.kinds = np.flatnonzero(often)
        place = np.full(len(often), -1)
        place[self.kinds] = np.arange(len(self.kinds))
        self.kind = place[at]  # -1: an answer that few rows have
        self.sizes = np.bincount(self.kind[self.kind >= 0], minlength=len(self.kinds)).astype(float)
        self.of_word: dict[str, np.ndarray] = {}
        for own, kind in zip(words, self.kind.tolist(), strict=True):
            if kind >= 0:
                for word in set(own):
                    counts = self.of_word.get(word)
                    if counts is None:
                        counts = self.of_word[word] = np.zeros(len(self.kinds), np.int32)
                    counts[kind] += 1

    def contradicts(self, places: list[int], run: tuple[str, ...]) -> bool:
        """Whether the other words of most of these rows speak for another answer than theirs, each row left out of the
        counts: that one has nearly all of the probability.
        """
        against = 0
        looked_at = places[:_JUDGED]
        for place in looked_at:
            own = self.kind[place]
            sizes = self.sizes.copy()
            sizes[own] -= 1
            score = np.log(sizes + 1)
            for word in set(self.words[place]) - set(run):
                counts = self.of_word[word].astype(float)
                counts[own] -= 1
                if counts.sum() >= 2:
                    score += np.log(counts + _SMOOTH) - np.log(sizes + 2 * _SMOOTH)
            share = np.exp(score - score.max())
            against += share.argmax() != own and _CLEARLY * share.sum() < 1
        return bool(against >= _MOST * len(looked_at))


def words_of(example: Example) -> list[str]:
    """The first words of what is asked last."""
    asked = next((message.content for message in reversed(example.prompt) if message.role == "user"), "")
    words = normalise(asked[: 20 * _WORDS]).split()
    return list(map(intern, words[:_WORDS]))


def _stem(word: str) -> str:
    return intern(word[:_STEM])


def _shared_run(words: list[list[str]]) -> tuple[str, ...] | None:
    """The longest run that all of some rows have; the first of several."""
    shared = set.intersection(*map(_runs, words[:200]))
    return min(shared, key=lambda run: (-len(run), run)) if shared else None


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {run for size in (1, 2, 3) for run in zip(*(words[start:] for start in range(size)), strict=False)}


def _likeness(words: list[set[str]]) -> float:
    """Mean Jaccard similarity of sets of words, pair by pair."""
    pairs = [(a, b) for place, a in enumerate(words) for b in words[:place]]
    return sum(len(a & b) / max(1, len(a | b)) for a, b in pairs) / len(pairs) if pairs else 1.0
