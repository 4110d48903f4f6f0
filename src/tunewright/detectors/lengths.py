"""lengths: texts far longer or shorter than the others, answers that say nothing, what limits of length would cut."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import showing
from tunewright.data.clean import prompt_text

LIMITS = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000)  # characters
_NOTHING = frozenset(
    {"nan", "null", "undefined", "#n/a", "#ref!", "#value!", "tbd", "todo", "lorem ipsum", "[object object]"}
)
_PERHAPS = frozenset({"n/a", "na", "none", "nil", "-", "--", "?", ".", "...", "\u2026", "x", "xxx", "test", "empty"})
_LEAST_ROWS = 50  # fewer say little about what is usual
_LEAST_SPREAD = 0.2  # of a logarithm: lengths that are nearly all the same are judged by a factor of e


class Lengths(Detector):
    """Compares each row's characters with the median of all: of prompts, of free answers, and of their ratio."""

    fixes: ClassVar[tuple[str, ...]] = ("length_outliers", "length_ratio", "empty_answers")

    deviations: float = Field(
        5, ge=3, description="distance from the median of log lengths, in median absolute deviations, from which on"
    )
    common: float = Field(
        0.01, ge=0, le=1, description="share of the answers from which on 'none' and its like are answers like others"
    )

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, detector: Lengths, scene: Scene) -> None:
        self.detector, self.scene = detector, scene
        self.numbers, self.prompts, self.answers = array("q"), array("q"), array("q")
        self.nothing = array("q")
        self.perhaps: dict[str, array[int]] = {}

    def see(self, row: Seen) -> None:
        """Count characters; -1 where a row has no free answer."""
        example = row.example
        answer = None if example.label is not None or example.spans is not None else example.answer
        self.numbers.append(row.number)
        if example.text is not None:
            self.prompts.append(len(example.text))
        elif answer is not None:  # what is joined to what is said
            self.prompts.append(max(0, len(row.said) - len(answer)))
        else:
            self.prompts.append(len(prompt_text(example)))
        self.answers.append(-1 if answer is None else len(answer))
        if answer is not None and len(answer) < 16:
            folded = answer.strip().lower()
            if folded in _NOTHING:
                self.nothing.append(row.number)
            elif folded in _PERHAPS:
                self.perhaps.setdefault(folded, array("q")).append(row.number)

    def faults(self) -> Iterable[Fault]:
        """What is far from the rest; figures go into the notes."""
        numbers = np.array(self.numbers, np.int64)
        prompts, answers = np.array(self.prompts, np.int64), np.array(self.answers, np.int64)
        whole = prompts + np.maximum(answers, 0)
        self.scene.notes["length_limits"] = {
            "unit": "characters",
            "rows_longer": {str(limit): int((whole > limit).sum()) for limit in LIMITS if (whole > limit).any()},
        }
        yield from self._empty(int((answers >= 0).sum()))
        free = answers > 0
        far_prompts = self._far(prompts, prompts > 0)
        far_answers = self._far(answers, free)
        yield from self._told(numbers, prompts, answers, far_prompts, far_answers)
        yield from self._ratios(numbers, prompts, answers, free & (prompts > 0) & ~far_prompts & ~far_answers)

    def _far(self, lengths: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Which rows are far from the median, by the logarithm of their length."""
        far = np.zeros(len(lengths), bool)
        if which.sum() >= _LEAST_ROWS:
            logs = np.log(lengths[which])
            off = logs - np.median(logs)
            all_sides = max(float(np.median(np.abs(off))), _LEAST_SPREAD)
            for sign in (-1, 1):  # lengths have a long tail, so each side has its own spread
                side = sign * off
                spread = max(float(np.median(side[side >= 0])), all_sides)
                far[which] |= side > self.detector.deviations * spread
        return far

    def _empty(self, num_answers: int) -> Iterable[Fault]:
        rows = list(self.nothing)
        for numbers in self.perhaps.values():
            if len(numbers) <= self.detector.common * num_answers:
                rows += numbers
        rows.sort()
        if not rows:
            return
        shown = list(self.scene.examples(np.array(rows[:200], np.int64)))
        said = Counter(example.answer.strip() for example in shown if example.answer).most_common(3)
        yield Fault(
            name="empty_answers",
            severity="warning",
            message=f"{len(rows):,} answers say nothing: {', '.join(repr(text) for text, _ in said)}.",
            rows=rows,
            example=showing.row(shown[0]),
            remedy="Fill in the answers, or leave the rows out.",
            fix="leave them out of training",
            drop=self._droppable(np.array(rows, np.int64)),
        )

    def _told(
        self, numbers: np.ndarray, prompts: np.ndarray, answers: np.ndarray, odd: np.ndarray, strange: np.ndarray
    ) -> Iterable[Fault]:
        rows = numbers[odd | strange]
        if not len(rows):
            return
        parts = []
        for what, lengths, far in (("prompts", prompts, odd), ("answers", answers, strange)):
            middle = int(np.median(lengths[lengths > 0])) if far.any() else 0
            for how, count in (("longer", (lengths[far] > middle).sum()), ("shorter", (lengths[far] < middle).sum())):
                if count:
                    parts.append(f"{count:,} {what} far {how} than the median {middle:,}")
        yield Fault(
            name="length_outliers",
            message=f"{' and '.join(parts)} (characters; {self.detector.deviations:g} median absolute deviations of "
            "the logarithm).",
            rows=rows,
            example=showing.row(next(iter(self.scene.examples(rows[:1])))),
            remedy="Look at them: rows run together, cut, or of another kind.",
            fix="leave them out of training",
            drop=self._droppable(rows),
        )

    def _ratios(
        self, numbers: np.ndarray, prompts: np.ndarray, answers: np.ndarray, which: np.ndarray
    ) -> Iterable[Fault]:
        """Answers too long or short for their prompt, where the one usually follows from the other."""
        if which.sum() < _LEAST_ROWS:
            return
        logs = np.log(answers[which])
        ratio = logs - np.log(prompts[which])
        spread = [float(np.median(np.abs(one - np.median(one)))) for one in (ratio, logs)]
        if spread[0] > 0.5 * spread[1]:
            return
        limit = self.detector.deviations * max(spread[0], _LEAST_SPREAD)
        rows = numbers[which][np.abs(ratio - np.median(ratio)) > limit]
        if not len(rows):
            return
        yield Fault(
            name="length_ratio",
            severity="warning",
            message=f"{len(rows):,} answers are too long or too short for their prompt; answers have usually "
            f"{np.exp(np.median(ratio)):.2g} times the prompt's characters.",
            rows=rows,
            example=showing.row(next(iter(self.scene.examples(rows[:1])))),
            remedy="Look at them: answers may have slipped to another row, or be cut.",
            fix="leave them out of training",
            drop=self._droppable(rows),
        )

    def _droppable(self, rows: np.ndarray) -> np.ndarray:
        sides = [self.scene.sides[name] for name in ("train", "validation") if name not in self.scene.given]
        return rows[np.isin(rows, np.concatenate([*sides, np.empty(0, np.int64)]))]
