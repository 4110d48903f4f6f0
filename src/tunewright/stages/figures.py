"""What an evaluation measured, as plain values for the report: contestants by grader and slice, rows, summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunewright.core.budget import Budget, fronts
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.stages import grading, sampled, tasks
from tunewright.stages.asking import Answered
from tunewright.stages.grading import Sheet
from tunewright.stages.lineup import TUNED, asked
from tunewright.stages.verdict import Comparison, Judgement

MAX_SLICES = 20
Sheets = dict[str, dict[str, Sheet]]  # grader -> contestant -> its graded answers


def slices(recipe: Recipe, test: Sequence[Example], findings: list[Finding]) -> list[str] | None:
    """The slice of each test row; None where there are none. Raises DataError for a column that no test row has."""
    column = recipe.evaluate.slice or (recipe.data.mix.by if recipe.data.mix else None)
    if column is None:
        return None
    if column == tasks.SOURCE:
        return [tasks.of_example(example, column) for example in test]
    values = [str(example.meta[column]) if column in example.meta else "(none)" for example in test]
    if set(values) == {"(none)"}:
        if recipe.evaluate.slice is None:  # a test file of its own need not have the column of the mix
            return None
        known = sorted({key for example in test for key in example.meta})
        raise DataError(f"evaluate.slice: no test row has a column '{column}'. Columns: {', '.join(known) or 'none'}.")
    largest = [value for value, _ in Counter(values).most_common(MAX_SLICES)]
    if len(set(values)) > MAX_SLICES:
        message = f"Column '{column}' has {len(set(values))} values; figures are shown for the {MAX_SLICES} largest."
        findings.append(Finding(name="many slices", message=message))
    return [value if value in largest else "(other)" for value in values]


def of_contestants(
    answered: dict[str, Answered], sheets: Sheets, slices: list[str] | None, clusters: list[str] | None
) -> dict[str, Any]:
    """For each contestant: every grader's value with its interval, the slices, and what answering cost."""
    figures: dict[str, Any] = {}
    for name, given in answered.items():
        figures[name] = {
            label: _measured(found[name], None, clusters) for label, found in sheets.items() if name in found
        }
        figures[name] |= given.costs()
        several = {label: sampled.figures(found[name], clusters) for label, found in sheets.items() if name in found}
        if told := {label: one for label, one in several.items() if one}:
            figures[name]["repeated"] = told
        if slices is not None:
            figures[name]["slices"] = {
                value: {
                    label: measured
                    for label, found in sheets.items()
                    if name in found
                    and (
                        measured := _measured(found[name], [n for n, of in enumerate(slices) if of == value], clusters)
                    )
                }
                for value in sorted(set(slices) - {"(other)"})
            }
    return figures


def _measured(one: Sheet, rows: list[int] | None, clusters: list[str] | None) -> dict[str, Any] | None:
    found = grading.measure(one, rows, clusters=clusters)
    if found is None:
        return None
    return {"value": round(found.value, 6), "low": round(found.low, 6), "high": round(found.high, 6), "n": found.n}


def of_rows(
    test: Sequence[Example], answered: dict[str, Answered], sheets: Sheets, slices: list[str] | None
) -> list[dict[str, Any]]:
    """One row for each test example: what was asked and expected, each contestant's answer and grades, and the reasons
    of a grading model.
    """
    scores = {label: {name: one.scores for name, one in found.items()} for label, found in sheets.items()}
    why = {label: {name: one.reasons for name, one in found.items()} for label, found in sheets.items()}
    why = {label: why[label] for label, found in sheets.items() if found[TUNED].grader.asks}
    several = sampled.told(answered, sheets, len(test))
    return [
        {
            "id": example.id,
            "prompt": asked(example),
            "expected": example.answer,
            "slice": slices[row] if slices is not None else None,
            "answers": {name: given.texts[row] for name, given in answered.items()},
            "confidences": {name: given.confidences[row] for name, given in answered.items()},
            "grades": {
                name: {label: by_name[name][row] for label, by_name in scores.items() if row in by_name.get(name, {})}
                for name in answered
            },
        }
        | (
            {
                "why": {
                    label: {name: of[row] for name, of in by_name.items() if row in of}
                    for label, by_name in why.items()
                }
            }
            if why
            else {}
        )
        | several[row]
        for row, example in enumerate(test)
    ]


def numbers(
    recipe: Recipe,
    sheets: Sheets,
    deciding: str,
    comparisons: list[Comparison],
    judgement: Judgement,
    table: list[dict[str, Any]],
) -> dict[str, Any]:
    """What stands beside the contestants: comparisons, summaries of graders, commonest errors, rows to look at."""
    summaries = {label: {name: one.summary() for name, one in found.items()} for label, found in sheets.items()}
    summaries = {label: found for label, found in summaries.items() if any(found.values())}
    confusion = next((found[TUNED]["confusion"] for found in summaries.values() if "confusion" in found[TUNED]), None)
    goal = recipe.evaluate.goal
    return {
        "rows": len(table),
        "grader": deciding,
        "comparisons": [_rounded(asdict(one)) for one in comparisons],
        "goal": goal.model_dump() if goal else None,
        "need": judgement.need,
        "changes": judgement.changes,
        "summaries": summaries,
        "confusion": confusion,
        "errors": grading.errors(sheets[deciding][TUNED]),
        "samples": grading.samples(table, deciding),
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in values.items()}


def budgeted(budget: Budget | None, figures: dict[str, Any], deciding: str) -> dict[str, Any]:
    """The budget, and who is on the Pareto front of each cost under it."""
    return {"budget": budget.model_dump() if budget else None, "fronts": fronts(figures, deciding, budget)}
