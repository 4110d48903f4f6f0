"""From evidence to advice: prompting, retrieval, or tuning. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tunewright.core import statistics
from tunewright.core.run import Run
from tunewright.stages import grading
from tunewright.stages.evidence import Share
from tunewright.stages.grading import Sheet
from tunewright.stages.verdict import Comparison, Measured

What = Literal["prompting", "retrieval", "tuning"]
Sheets = dict[str, dict[str, Sheet]]  # grader -> contestant -> its graded answers
LEVEL = 0.05
NEW = 0.3  # share of needed facts that no training row holds, from which on tuning can't give them
LEAST_NAMES = 20  # names and numbers on which a share of facts rests
OF_FORM = 0.3  # share of the errors, from which on form is what is missing


@dataclass(frozen=True)
class Weighed:
    """What speaks for one advice or another. sheets: of each contestant, by the deciding grader. clusters: of each row,
    where rows depend on each other. reading: those that read passages. proxy: what a quick classifier reaches after a
    part of the rows, and after all.
    """

    grader: str
    at_least: float | None
    clusters: list[str] | None
    best: str | None
    sheets: dict[str, Sheet]
    reading: set[str]
    labels: bool
    proxy: list[tuple[int, Sheet]]
    novelty: Share | None
    supported: dict[str, Share] | None
    over_documents: bool
    form: tuple[Share, dict[str, int]] | None
    tuning: dict[str, Any]

    def measured(self, name: str) -> Measured:
        """A contestant's figure."""
        found = grading.measure(self.sheets[name], clusters=self.clusters)
        assert found is not None
        return found

    def surely(self, name: str) -> float:
        """The lower end of a contestant's interval, wider because the best of several was picked (Bonferroni)."""
        sheet, confidence = self.sheets[name], 1 - LEVEL / len(self.sheets)
        if self.clusters is not None:
            tally = statistics.by_cluster(sheet.tally, [self.clusters[row] for row in sheet.rows])
            return statistics.bootstrap(tally, sheet.grader.value, confidence=confidence).low
        if sheet.grader.paired == "mcnemar":
            right = sum(grade.score for grade in sheet.grades)
            return statistics.wilson(right, len(sheet.grades), confidence=confidence).low
        return statistics.bootstrap(sheet.tally, sheet.grader.value, confidence=confidence).low

    def learnable(self) -> Comparison | None:
        """The quick classifier that learned from all rows against the best untuned contestant, on the same rows."""
        if not self.proxy or self.best is None:
            return None
        return grading.compare(self.proxy[-1][1], self.sheets[self.best], self.best, clusters=self.clusters)

    def by_reading(self) -> Comparison | None:
        """The best contestant that reads passages against the best that doesn't."""
        reading = [name for name in self.sheets if name in self.reading]
        others = [name for name in self.sheets if name not in self.reading]
        if not reading or not others:
            return None
        first, second = (max(names, key=lambda name: self.measured(name).value) for names in (reading, others))
        return grading.compare(self.sheets[first], self.sheets[second], second, clusters=self.clusters)

    def told(self) -> dict[str, Any]:
        """As it stands in a report."""
        learnable, reading = self.learnable(), self.by_reading()
        points = [{"rows": rows, "value": round(_value(sheet), 6)} for rows, sheet in self.proxy]
        return {
            "grader": self.grader,
            "at_least": self.at_least,
            "best": self.best,
            "tuning": self.tuning,
            "evidence": {
                "proxy": points,
                "proxy_against_best": _pair(learnable),
                "reading_against_others": _pair(reading),
                "new_names": self.novelty.told() if self.novelty else None,
                "answers_in_passages": self.supported["answers"].told() if self.supported else None,
                "names_in_passages": self.supported["names"].told() if self.supported else None,
                "errors_of_form": self.form[0].told() | {"kinds": self.form[1]} if self.form else None,
            },
        }


@dataclass(frozen=True)
class Advice:
    """What the task needs, whether intervals decide it, and why, each reason a sentence."""

    what: What
    sure: bool
    because: list[str]


def advised(found: Weighed) -> Advice:
    """The advice. A bar that is reached decides; then facts that no row teaches; then what rows can teach."""
    because = _told(found)
    if found.best is None:
        return Advice("tuning", False, [*because, "Nothing untuned could be asked, so there is nothing to compare."])
    best = found.measured(found.best)
    asking: What = "retrieval" if found.best in found.reading else "prompting"
    if found.at_least is not None and found.surely(found.best) >= found.at_least:
        return Advice(asking, True, because)
    reading = found.by_reading()
    gains = reading is not None and reading.difference > 0 and reading.p <= LEVEL
    if gains and found.over_documents and found.best in found.reading:
        return Advice("retrieval", True, [*because, "Passages help more than any other prompt."])
    facts = found.novelty
    if facts is not None and facts.of >= LEAST_NAMES and facts.count / facts.of >= NEW:
        bring = "" if found.over_documents else " Bring the documents that hold them (data.retrieval)."
        return Advice("retrieval", facts.told()["low"] >= NEW, [*because, f"Tuning can't teach such facts.{bring}"])
    learnable = found.learnable()
    if learnable is not None and learnable.p <= LEVEL:
        return Advice("tuning" if learnable.difference > 0 else asking, True, because)
    if found.at_least is not None:
        missed = best.high < found.at_least
        return Advice("tuning", missed, [*because, *([] if missed else [_undecided(found.at_least)])])
    form = found.form[0] if found.form else Share(0, 0)
    if form.of and form.count / form.of >= OF_FORM:
        return Advice("tuning", form.told()["low"] >= OF_FORM, [*because, "Form is what tuning teaches best."])
    return Advice(asking if best.value >= 0.5 else "tuning", False, because)


def following(what: What, run: Run, again: str) -> str:
    """The next command."""
    if what == "tuning":
        return f"tunewright run {again}"
    if what == "retrieval":
        return f"Give data.retrieval with documents in the recipe, then: tunewright advise {again}"
    prompt = run.path("advise", "prompt.yaml")
    return f"Ask with the prompt in {prompt}; to see what tuning would add: tunewright run {again}"


def _told(found: Weighed) -> list[str]:
    """The evidence, a sentence each."""
    said = []
    if found.best is not None:
        best = found.measured(found.best)
        told = f"{best.value:.3f} (95 % interval {best.low:.3f} to {best.high:.3f}, {best.n} validation rows)"
        bar = "" if found.at_least is None else f"; {found.at_least:.3f} is asked for"
        said.append(f"The best untuned contestant is {found.best}: {found.grader} {told}{bar}.")
    learnable = found.learnable()
    if learnable is not None:
        rows, part = found.proxy[-1][0], found.proxy[:-1]
        before = "".join(f" ({_value(sheet):.3f} after {rows:,})" for rows, sheet in part[-1:])
        difference = f"{learnable.difference:+.3f} (95 % interval {learnable.low:+.3f} to {learnable.high:+.3f})"
        said.append(
            f"A quick classifier that learned from {rows:,} training rows reaches {learnable.tuned:.3f}{before}, "
            f"{difference} against {learnable.against}."
        )
    reading = found.by_reading()
    if reading is not None:
        said.append(
            f"Reading passages changes {found.grader} by {reading.difference:+.3f} (95 % interval "
            f"{reading.low:+.3f} to {reading.high:+.3f}) against {reading.against}."
        )
    if found.supported is not None and found.supported["answers"].of:
        answers, named = found.supported["answers"], found.supported["names"]
        also = f", and {named.count} of {named.of} of their names and numbers" if named.of else ""
        said.append(f"{answers.count} of {answers.of} expected answers stand word for word in passages found{also}.")
    if found.novelty is not None and found.novelty.of:
        count, of = found.novelty.count, found.novelty.of
        said.append(f"{count} of {of} names and numbers that answers need stand in no training row.")
    if found.form is not None and found.form[0].of:
        form, kinds = found.form
        which = f" ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})" if kinds else ""
        said.append(f"{form.count} of its {form.of} errors are errors of form{which}.")
    if found.tuning.get("seconds") is not None:
        cost = found.tuning["cost"]
        said.append(
            f"Tuning would take about {found.tuning['seconds']:,.0f} seconds here"
            f"{'' if cost is None else f' and cost about {cost:g}'}."
        )
    return said


def _undecided(at_least: float) -> str:
    return f"Whether {at_least:.3f} is reached without tuning, these rows don't decide."


def _value(sheet: Sheet) -> float:
    return float(sheet.grader.value(sheet.tally.sum(axis=0)))


def _pair(one: Comparison | None) -> dict[str, Any] | None:
    if one is None:
        return None
    keys = ("against", "difference", "low", "high", "p", "wins", "losses", "n")
    return {key: round(value, 6) if isinstance(value := getattr(one, key), float) else value for key in keys}
