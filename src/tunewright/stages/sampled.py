"""Several answers to each test row: each graded, their mean a row's grade; and what any or all of k would reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunewright.core import repeated, statistics
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.stages import grading
from tunewright.stages.asking import Answered
from tunewright.stages.grading import Sheet


def by_id(test: Sequence[Example], answered: Mapping[str, Answered]) -> dict[str, dict[str, str]]:
    """Every contestant's answers by row and sample; one that has fewer gives its first again."""
    most = max((given.num_samples for given in answered.values()), default=1)
    return {
        name: {
            _id(example.id, sample): texts[sample if sample < len(texts) else 0]
            for example, texts in zip(test, of_rows(given), strict=True)
            for sample in range(most)
        }
        for name, given in answered.items()
    }


def of_rows(given: Answered) -> list[list[str]]:
    """All answers to each row."""
    return given.samples or [[text] for text in given.texts]


def sheet(grader: Grader, examples: Sequence[Example], samples: Sequence[Sequence[str]], desk: Desk) -> Sheet | None:
    """Each row's answers graded in one go, and folded into one grade a row; None as `grading.sheet`.

    A row's grade is the mean of its samples' (Miller 2024, arXiv:2411.00640, section 3.1), what it adds to the totals
    the mean of what they add, and the answer that is shown the first one.
    """
    num = len(samples[0])
    if num == 1 or grader.needs_model:  # what a model finds likely does not hang on what it said
        return grading.sheet(grader, examples, [texts[0] for texts in samples], desk)
    each = [example.model_copy(update={"id": _id(example.id, sample)}) for example in examples for sample in range(num)]
    found = grading.sheet(grader, each, [text for texts in samples for text in texts], desk)
    return None if found is None else _folded(found, examples, num)


def _id(id: str, sample: int) -> str:
    """A row's id, for the first of its answers; the others have one of their own."""
    return f"{id}#{sample + 1}" if sample else id


def _folded(found: Sheet, examples: Sequence[Example], num: int) -> Sheet:
    import numpy as np

    places: dict[int, list[int]] = {}
    for place, row in enumerate(found.rows):
        places.setdefault(row // num, []).append(place)
    first = [of[0] for of in places.values()]
    means = [float(np.mean([found.grades[place].score for place in of])) for of in places.values()]
    return replace(
        found,
        rows=list(places),
        examples=[
            found.examples[at].model_copy(update={"id": examples[row].id})
            for row, at in zip(places, first, strict=True)
        ],
        answers=[found.answers[at] for at in first],
        grades=[Grade(score=mean, why=found.grades[at].why) for mean, at in zip(means, first, strict=True)],
        tally=np.stack([found.tally[of].mean(axis=0) for of in places.values()]),
        lacking=found.lacking // num,
        samples=replace(found, rows=[row // num for row in found.rows]),
    )


def num_right(one: Sheet) -> dict[int, tuple[int, int]]:
    """How many of each row's answers are right, and how many there are; empty for grades in between, or one answer."""
    if one.samples is None or one.grader.paired != "mcnemar":
        return {}
    found: dict[int, tuple[int, int]] = {}
    for row, grade in zip(one.samples.rows, one.samples.grades, strict=True):
        right, num = found.get(row, (0, 0))
        found[row] = right + int(grade.score), num + 1
    return found


def told(
    answered: Mapping[str, Answered], sheets: Mapping[str, Mapping[str, Sheet]], rows: int
) -> list[dict[str, Any]]:
    """For each row every answer of those who gave several, and how many are right; nothing where nobody did."""
    those = {name: given.samples for name, given in answered.items() if given.samples}
    if not those:
        return [{}] * rows
    right = {
        name: {label: num_right(found[name]) for label, found in sheets.items() if name in found} for name in those
    }
    return [
        {
            "samples": {name: samples[row] for name, samples in those.items()},
            "right": {
                name: {label: of[row][0] for label, of in by_label.items() if row in of}
                for name, by_label in right.items()
            },
        }
        for row in range(rows)
    ]


def figures(one: Sheet, clusters: Sequence[str] | None) -> dict[str, Any]:
    """`pass@k`: the chance that any of k answers is right; `all K`: that every one of K is. Means over the rows, with
    their 95 % intervals (bootstrap over rows, or clusters). Empty as `num_right`.
    """
    rows = num_right(one)
    num = max((several for _, several in rows.values()), default=0)
    if not num:
        return {}
    found = {f"pass@{k}": _figure(rows, repeated.pass_at_k, k, clusters) for k in repeated.ks(num)}
    return found | {f"all {num}": _figure(rows, repeated.all_k, num, clusters)}


def _figure(
    rows: Mapping[int, tuple[int, int]],
    chance: Callable[[int, int, int], float],
    k: int,
    clusters: Sequence[str] | None,
) -> dict[str, Any]:
    import numpy as np

    graded = {row: chance(num, right, k) for row, (right, num) in rows.items() if num >= k}
    tally = np.array([[value, 1.0] for value in graded.values()])
    if clusters is not None:
        tally = statistics.by_cluster(tally, [clusters[row] for row in graded])
    told = statistics.bootstrap(tally, lambda totals: totals[..., 0] / totals[..., 1])
    return told.plain(6) | {"n": len(graded)}
