"""From answers to figures: grades, intervals, slices, paired comparisons, the commonest errors, samples to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunewright.core import statistics
from tunewright.core.endpoint import ask_once
from tunewright.core.errors import DataError
from tunewright.core.example import Example, answer_field
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.data.grounding import without_citations
from tunewright.stages.verdict import Comparison, Measured

if TYPE_CHECKING:
    import numpy as np

MAX_SAMPLES = 12
FEW_CLUSTERS = 20
SHORT = 60  # characters: answers up to this length are worth counting as confusions


@dataclass(frozen=True)
class Sheet:
    """One contestant's answers graded by one grader. `rows` are the places in the test set that could be graded.

    samples: every answer with its own grade, where rows have several; grades are their means then (stages/sampled.py).
    desk: where the grader left what it found beside the grades. lacking: rows without what the grader compares with.
    """

    grader: Grader
    rows: list[int]
    examples: list[Example]
    answers: list[str | None]
    grades: list[Grade]
    tally: np.ndarray
    desk: Desk
    lacking: int = 0
    samples: Sheet | None = None

    @property
    def right_or_wrong(self) -> bool:
        """Whether each row is right or wrong and the value is their share."""
        return self.grader.paired == "mcnemar" and self.samples is None

    def summary(self) -> dict[str, Any]:
        """The grader's figures over all answers, and what it noted."""
        every = self.samples or self
        return self.grader.summarise(every.examples, every.answers, every.grades) | self.desk.notes

    def at(self, rows: Iterable[int]) -> Sheet:
        """The sheet of these rows alone, of those that could be graded."""
        wanted = set(rows)
        places = [place for place, row in enumerate(self.rows) if row in wanted]
        if len(places) == len(self.rows):
            return self
        return replace(
            self,
            rows=[self.rows[place] for place in places],
            examples=[self.examples[place] for place in places],
            answers=[self.answers[place] for place in places],
            grades=[self.grades[place] for place in places],
            tally=self.tally[places],
        )

    @property
    def scores(self) -> dict[int, float]:
        """The grade of each graded place in the test set."""
        return {row: grade.score for row, grade in zip(self.rows, self.grades, strict=True)}

    @property
    def reasons(self) -> dict[int, str]:
        """Why each graded place in the test set got its grade."""
        return {row: grade.why for row, grade in zip(self.rows, self.grades, strict=True)}


def sheet(
    grader: Grader,
    examples: Sequence[Example],
    answers: Sequence[str],
    desk: Desk | None = None,
    scores: Sequence[float | None] | None = None,
) -> Sheet | None:
    """Grade the answers, each cut to the grader's field; None when no row, or no model, has what the grader needs.

    desk: without one, what the grader asks is kept nowhere. scores: what the grader gave these answers before, where it
    is not to be asked again; a row without one is left out.
    """
    desk = desk or Desk(ask=ask_once)
    if grader.needs_model and desk.logprobs is None:
        return None
    rows: list[int] = []
    kept: list[Example] = []
    cut: list[str | None] = []
    for row, (example, answer) in enumerate(zip(examples, answers, strict=True)):
        if example.question is not None and grader.needs_expected:  # what is cited is no part of what is compared
            example = example.model_copy(update={"expected": without_citations(example.answer or "")})
            answer = without_citations(answer)
        if (asked := comparable(grader, example)) is None or (scores is not None and scores[row] is None):
            continue
        rows.append(row)
        kept.append(asked)
        cut.append(answer if grader.needs_model else answer_field(answer, grader.field))
    if not rows:
        return None
    if scores is not None:
        grades = [Grade(score=scores[row] or 0.0) for row in rows]
        return Sheet(grader, rows, kept, cut, grades, grader.tally(kept, cut, grades), desk)
    there = [place for place, found in enumerate(cut) if found is not None]
    given = grader.grade_all([kept[place] for place in there], [cut[place] or "" for place in there], desk)
    of_place = dict(zip(there, given, strict=True))
    graded = [(place, grade) for place in range(len(rows)) if (grade := of_place.get(place, _missing(grader)))]
    lacking = len(examples) - len(rows)
    rows = [rows[place] for place, _ in graded]
    kept = [kept[place] for place, _ in graded]
    cut = [cut[place] for place, _ in graded]
    grades = [grade for _, grade in graded]
    return Sheet(grader, rows, kept, cut, grades, grader.tally(kept, cut, grades), desk, lacking)


def grades(
    grader: Grader, examples: Sequence[Example], answers: Sequence[str], desk: Desk | None = None
) -> list[Grade | None]:
    """The grade of each answer; None where a row lacks what the grader needs, or could not be graded."""
    found = sheet(grader, examples, answers, desk)
    of_row = dict(zip(found.rows, found.grades, strict=True)) if found else {}
    return [of_row.get(row) for row in range(len(examples))]


def comparable(grader: Grader, example: Example) -> Example | None:
    """The example with the expected answer cut to the grader's field; None when it lacks what the grader needs."""
    expected = None if example.answer is None else answer_field(example.answer, grader.field)
    if grader.needs_expected and (expected is None or not grader.compares(expected)):
        return None
    return example.model_copy(update={"expected": expected})


def refuse_idle(deciding: Sequence[str]) -> None:
    """Raise DataError where graders that decide have no row to grade. deciding: their names."""
    if deciding:
        raise DataError(
            f"Grader '{deciding[0]}' has nothing to grade: no test row has the answer (or field) that it compares "
            "with. Correct 'field:' in the recipe, or the test rows."
        )


def grade(grader: Grader, example: Example, answer: str) -> Grade | None:
    """One answer's grade, both sides cut to the grader's field; None when the example lacks what the grader needs."""
    asked = comparable(grader, example)
    return None if asked is None else _grade(grader, asked, answer_field(answer, grader.field))


def _grade(grader: Grader, asked: Example, found: str | None) -> Grade:
    return _missing(grader) if found is None else grader.grade(asked, found)


def _missing(grader: Grader) -> Grade:
    return Grade(score=0.0, why=f"the field '{grader.field}' is missing")


def measure(one: Sheet, rows: Iterable[int] | None = None, *, clusters: Sequence[str] | None = None) -> Measured | None:
    """The grader's value with its 95 % interval, over all graded rows or those given; None when there are none.

    clusters: of each row of the test set, where rows depend on each other; whole clusters are drawn then.
    """
    wanted = None if rows is None else set(rows)
    places = [place for place, row in enumerate(one.rows) if wanted is None or row in wanted]
    if not places:
        return None
    share = one.right_or_wrong and clusters is None
    if share:
        found = statistics.wilson(sum(one.grades[place].score for place in places), len(places))
    else:
        tally = one.tally[places]
        if clusters is not None:
            tally = statistics.by_cluster(tally, [clusters[one.rows[place]] for place in places])
        found = statistics.bootstrap(tally, one.grader.value)
    return Measured(one.grader.label, found.value, found.low, found.high, len(places), share)


def compare(
    tuned: Sheet, other: Sheet, against: str, *, margin: float = 0.0, clusters: Sequence[str] | None = None
) -> Comparison:
    """Tuned against a contestant on the same rows: McNemar for right or wrong, the paired bootstrap otherwise, over
    whole clusters where rows depend on each other. margin: p is of "lower by the margin".
    Raises DataError when no row has both graded.
    """
    shared = set(tuned.rows) & set(other.rows)
    if not shared:
        raise DataError(
            f"Grader '{tuned.grader.label}' graded no row of both tuned and {against}, so they cannot be compared. "
            "Leave it out, or see what it says in evaluate/answers.jsonl."
        )
    tuned, other = tuned.at(shared), other.at(shared)
    pairs = [(first.score, second.score) for first, second in zip(tuned.grades, other.grades, strict=True)]
    wins = sum(first > second for first, second in pairs)
    losses = sum(first < second for first, second in pairs)
    shares = tuned.right_or_wrong and other.right_or_wrong
    test = "cluster bootstrap" if clusters is not None else "mcnemar" if shares else "bootstrap"
    if test == "mcnemar":
        both = sum(first == second == 1 for first, second in pairs)
        found = statistics.paired_shares(both, wins, losses, len(pairs) - both - wins - losses, margin=margin)
    else:
        first, second = tuned.tally, other.tally
        if clusters is not None:
            of_rows = [clusters[row] for row in tuned.rows]
            first, second = statistics.by_cluster(first, of_rows), statistics.by_cluster(second, of_rows)
        found = statistics.paired_bootstrap(first, second, tuned.grader.value, margin=margin)
    return Comparison(
        grader=tuned.grader.label,
        against=against,
        tuned=float(tuned.grader.value(tuned.tally.sum(axis=0))),
        other=float(other.grader.value(other.tally.sum(axis=0))),
        difference=found.value,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=found.p,
        test=test,
        wins=wins,
        losses=losses,
        n=len(pairs),
        error=found.error,
        margin=margin,
        clusters=None if clusters is None else len({clusters[row] for row in tuned.rows}),
    )


def clusters_of(recipe: Recipe, test: Sequence[Example]) -> list[str] | None:
    """The cluster of each test row, one that has none being its own; None where rows are independent.

    Raises DataError when the recipe names a column that no test row has.
    """
    column = recipe.evaluate.clusters or recipe.data.split.group
    if column is None:
        return None
    values = [example.meta.get(column) for example in test]
    if all(value is None or value == "" for value in values):
        if recipe.evaluate.clusters is None:  # a test file of its own need not have the column of the split
            return None
        known = ", ".join(sorted({key for example in test for key in example.meta}))
        raise DataError(f"evaluate.clusters: no test row has a column '{column}'. Columns: {known or 'none'}.")
    return [
        f"row {example.id}" if value is None or value == "" else f"of {value}"
        for example, value in zip(test, values, strict=True)
    ]


def few_clusters(clusters: Sequence[str] | None) -> list[Finding]:
    """A warning where there are too few clusters for their intervals to be trusted."""
    num = FEW_CLUSTERS if clusters is None else len(set(clusters))
    if num >= FEW_CLUSTERS:
        return []
    message = f"The test rows are of {num} clusters; with fewer than {FEW_CLUSTERS} the intervals are too narrow."
    remedy = "Bring test rows of more clusters: more rows of the same ones tell little."
    return [Finding(name="few clusters", severity="warning", message=message, count=num, remedy=remedy)]


def errors(one: Sheet, *, most: int = 10) -> list[dict[str, Any]]:
    """The commonest wrong answers: what was expected, what came, how often, one example. Short answers only."""
    found: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for example, answer, grade in zip(one.examples, one.answers, one.grades, strict=True):
        expected, got = example.expected or "", "(field missing)" if answer is None else answer.strip()
        if grade.score == 0 and one.grader.needs_expected and len(expected) <= SHORT and len(got) <= SHORT:
            found[expected, got] += 1
            first.setdefault((expected, got), example.id)
    return [
        {"expected": expected, "got": got, "n": count, "example": first[expected, got]}
        for (expected, got), count in found.most_common(most)
    ]


def samples(table: Sequence[dict[str, Any]], grader: str) -> list[dict[str, Any]]:
    """Rows to look at: first those on which contestants differ from tuned (right ones and wrong ones), then others."""
    groups: dict[str, list[dict[str, Any]]] = {"won": [], "lost": [], "wrong": [], "right": []}
    for row in table:
        scores = {name: grades[grader] for name, grades in row["grades"].items() if grader in grades}
        if "tuned" not in scores:
            continue
        others = [score for name, score in scores.items() if name != "tuned"]
        mine = scores["tuned"]
        if others and mine > min(others):
            groups["won"].append(row)
        elif others and mine < max(others):
            groups["lost"].append(row)
        else:
            groups["right" if mine >= 0.5 else "wrong"].append(row)
    chosen: list[dict[str, Any]] = []
    for name, room in (("won", 6), ("lost", 3), ("wrong", 2), ("right", 1)):
        chosen += _spread(groups[name], room)
    rest = [row for name in ("won", "wrong", "lost", "right") for row in groups[name] if row not in chosen]
    return [
        {key: row[key] for key in ("id", "prompt", "expected", "slice", "answers")}
        | {"scores": {name: grades.get(grader) for name, grades in row["grades"].items()}}
        | _right(row, grader)
        for row in (chosen + _spread(rest, MAX_SAMPLES - len(chosen)))
    ]


def _right(row: dict[str, Any], grader: str) -> dict[str, Any]:
    """How many of each contestant's answers to the row are right, and of how many."""
    right = row.get("right") or {}
    told = {name: [of[grader], len(row["samples"][name])] for name, of in right.items() if grader in of}
    return {"right": told} if told else {}


def _spread(rows: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """At most `room` rows, evenly from the whole list."""
    if len(rows) <= room:
        return rows
    return [rows[place * len(rows) // room] for place in range(room)]
