"""What contestants may look at and try before the test rows are asked: the scene of their rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunewright.core.contesting import Rehearsal, Tried
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant, Grader
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import grading
from tunewright.stages.desk import desk

ASKED = "prompt-search"  # names the replies of servers that propose something


@dataclass(frozen=True)
class Scene:
    """Training rows to show, and rows to try on."""

    recipe: Recipe
    run: Run
    training: Sequence[Example]
    validation: Sequence[Example]

    def of(self, contestant: Contestant, trial: Callable[[Contestant, Sequence[Example], str], Tried]) -> Rehearsal:
        """The scene of one contestant. trial: asks rows, and keeps the answers."""
        grader, label = deciding(self.recipe), contestant.label

        def value(rows: Sequence[Example], answers: Sequence[str]) -> float:
            by_id = {label: {one.id: text for one, text in zip(rows, answers, strict=True)}}
            sheet = grading.sheet(grader, rows, answers, desk(self.run, label, by_id, grader.label))
            assert sheet is not None, "rows that cannot be graded are left out"
            return float(grader.value(sheet.tally.sum(axis=0)))

        def poll(what: str, done: int, total: int) -> None:
            self.run.progress("evaluate", done=done, total=total, what=f"{label}: {what}")

        return Rehearsal(
            training=self.training,
            validation=self.graded,
            labels=sorted(self._labels),
            grader=grader.label,
            trial=trial,
            value=value,
            ask=desk(self.run, label, {}, ASKED).ask,
            poll=poll,
        )

    @cached_property
    def graded(self) -> list[Example]:
        """The validation rows that ask something and can be graded."""
        objective, grader = self.recipe.the_objective(), deciding(self.recipe)
        asked = [one for one in self.validation if one.prompt and objective.imitates(one)]
        return [one for one in asked if grading.comparable(grader, one) is not None]

    @property
    def _labels(self) -> list[str]:
        prepared = self.run.report("prepare")
        return list((prepared.numbers if prepared else {}).get("labels") or {})


def deciding(recipe: Recipe) -> Grader:
    """The grader that the verdict rests on: the goal's, else the first. Raises DataError."""
    graders, goal = recipe.the_graders(), recipe.evaluate.goal
    found = next((one for one in graders if goal is None or one.label == goal.grader), None)
    if found is None:
        raise DataError("The recipe names no grader that could decide. Name one in evaluate.graders.")
    return found
