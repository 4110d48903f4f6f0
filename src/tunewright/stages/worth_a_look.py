"""What is worth a look in an evaluation: ungraded rows, costs, what did not fit, a test set opened often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.core.budget import Budget
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.stages import openings
from tunewright.stages.asking import Answered
from tunewright.stages.figures import Sheets
from tunewright.stages.lineup import TUNED
from tunewright.stages.verdict import Comparison


def of_answers(recipe: Recipe, test: Sequence[Example], answered: dict[str, Answered], sheets: Sheets) -> list[Finding]:
    """What the recipe leaves open, what graders left out and cost, and what contestants could not answer."""
    found: list[Finding] = []

    def warn(name: str, message: str, rows: int | None, remedy: str) -> None:
        found.append(Finding(name=name, severity="warning", message=message, count=rows, remedy=remedy))

    if recipe.evaluate.goal is None:
        remedy = "Add evaluate.goal with a grader, at_least and beat."
        warn("no goal", "The recipe sets no goal, so every result is a GO.", None, remedy)
    for label, graded in sheets.items():
        found += [finding for one in graded.values() for finding in one.desk.findings]
        missing = graded[TUNED].lacking if graded else len(test)
        if missing:
            message = (
                f"Grader '{label}' left out {missing} of {len(test)} test rows: they have no expected answer for it."
            )
            warn("ungraded rows", message, missing, "Give them an answer, or correct 'field:' of the grader.")
        if money := sum(one.desk.notes.get("money", 0) for one in graded.values()):
            message = f"The answers graded by '{label}' cost {money:.4g}, by the prices of its endpoint."
            found.append(Finding(name="price of grading", message=message))
    for name, given in answered.items():
        found += _cost_findings(name, given)
    return found


def often_opened(recipe: Recipe, count: int, comparisons: Sequence[Comparison]) -> list[Finding]:
    """A warning when the test set was opened often, with what stays of the comparisons that gate."""
    goal = recipe.evaluate.goal
    level = goal.level if goal else 0.05
    won = [
        one for one in comparisons if goal and goal.margin_of(one.grader, one.against) is not None and one.won(level)
    ]
    still = all(one.won(level / count) for one in won) if won else None
    return openings.findings(count, level, still=still)


def unmeasured(budget: Budget | None, figures: dict[str, Any]) -> list[Finding]:
    """What the budget bounds and nothing measured."""
    if not (budget and (missing := budget.unmeasured(figures))):
        return []
    message = f"The budget bounds what was not measured for {TUNED}: {', '.join(missing)}. It is not held against it."
    return [Finding(name="budget", severity="warning", message=message)]


def _cost_findings(name: str, given: Answered) -> list[Finding]:
    """What did not fit: shown examples that were dropped, questions longer than the context, answers cut short."""
    found = []
    if given.shortened:
        message = f"{name}: shown examples were dropped from {len(given.shortened)} prompts to fit the model's context."
        rows, example = len(given.shortened), given.shortened[0]
        found.append(Finding(name="shortened prompts", message=message, count=rows, example=example))
    if given.too_long:
        message = f"{len(given.too_long)} test questions are longer than the model's context; {name} is wrong on them."
        rows, example = len(given.too_long), given.too_long[0]
        remedy = "Shorten the rows, or take a base with a longer context."
        found.append(
            Finding(name="too long", severity="warning", message=message, count=rows, example=example, remedy=remedy)
        )
    if given.refused:
        message = f"{name} refused {len(given.refused)} test questions; it is wrong on them."
        rows, example = len(given.refused), given.refused[0]
        found.append(
            Finding(name="refused questions", severity="warning", message=message, count=rows, example=example)
        )
    if given.cut and name == TUNED:
        message = f"{len(given.cut)} of {given.num_answers} answers of {name} were not finished at the longest length."
        rows, example = len(given.cut), given.cut[0]
        remedy = "Raise evaluate.max_new_tokens."
        found.append(
            Finding(name="cut answers", severity="warning", message=message, count=rows, example=example, remedy=remedy)
        )
    return found
