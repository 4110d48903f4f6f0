"""Stage evaluate: the tuned model and its contestants answer the test set; graders grade; figures give a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tunewright.core import storage
from tunewright.core.budget import Budget, fronts
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.goal import Goal
from tunewright.core.parts import Grader
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.stages import bars, failures, gate, grading, guarding, lineup, openings, right, tasks
from tunewright.stages.asking import Answered
from tunewright.stages.desk import desk
from tunewright.stages.grading import Sheet
from tunewright.stages.lineup import TUNED, conversation
from tunewright.stages.verdict import Comparison, Judgement, adjusted, doubted, judge

MAX_SLICES = 20
Sheets = dict[str, dict[str, Sheet]]  # grader -> contestant -> its graded answers


def evaluate(recipe: Recipe, run: Run) -> Report:
    """Measure the tuned model and its contestants on the test set; judge. Raises DataError, NotThere, Stopped."""
    objective = recipe.the_objective()
    test = [example for example in run.split("test") if example.prompt and objective.imitates(example)]
    goal = recipe.evaluate.goal
    if recipe.the_objective().figure is not None:
        return right.evaluate(recipe, run, _broken(run), lambda judgement: _next(run, judgement))
    graders = recipe.the_graders()
    if not test or not graders:
        return _nothing_to_grade(recipe, run, len(test))
    own = lineup.models(recipe, run)
    clusters = grading.clusters_of(recipe, test)
    fixed = openings.frozen(test, graders, model=own["tuned"].identity, decode=own["tuned"].decode.model_dump())
    openings.refuse_sealed(recipe, run, fixed)
    entrants = lineup.entrants(recipe, run, test, own)
    answered = {name: entrant.answered for name, entrant in entrants.items()}
    count = openings.opened(run, fixed)
    by_id = {
        name: {one.id: text for one, text in zip(test, given.texts, strict=True)} for name, given in answered.items()
    }
    sheets = _sheets(recipe, run, graders, test, answered, by_id)
    findings = _findings(recipe, run, test, answered, sheets)
    sheets = {label: found for label, found in sheets.items() if found}
    deciding = goal.graders if goal else [next(iter(sheets), graders[0].label)]
    if lacking := [label for label in deciding if label not in sheets]:
        raise DataError(
            f"Grader '{lacking[0]}' has nothing to grade: no test row has the answer (or field) that "
            "it compares with. Correct 'field:' in the recipe, or the test rows."
        )
    comparisons = _compared(sheets, goal, clusters)
    findings += _often_opened(recipe, count, comparisons) + grading.few_clusters(clusters)
    slices = _slices(recipe, test, findings)
    by = next(grader for grader in graders if grader.label == deciding[0])
    guards = guarding.guard(recipe, run, own, entrants, partial(_scores, run, by_id, by))
    figures = _figures(answered, sheets, slices, clusters)
    budget = recipe.evaluate.budget
    over = budget.over(figures[TUNED]) if budget else []
    measured = [one for label in deciding if (one := grading.measure(sheets[label][TUNED], clusters=clusters))]
    judgement = judge(goal, measured, comparisons, _broken(run), guards, over)
    judgement = doubted(judgement, [doubt for label in deciding for doubt in sheets[label][TUNED].desk.doubts if goal])
    table = _table(test, answered, sheets, slices)
    failed = failures.analyse(
        failures.of_sheets(test, answered[TUNED].texts, sheets[deciding[0]]), run.split("train"), slices
    )
    storage.write_jsonl(run.path("evaluate", "answers.jsonl"), table, point="answers")
    report = Report(
        stage="evaluate",
        run=run.name,
        verdict=judgement.verdict,
        reason=judgement.reason,
        contestants=figures,
        guards=guards,
        numbers=_numbers(recipe, sheets, deciding[0], comparisons, judgement, table)
        | {"openings": count, "frozen": asdict(fixed), "decode": own["tuned"].decode.model_dump()}
        | {"clusters": len(set(clusters)) if clusters else None}
        | {"failures": failed, "escalation": guarding.escalation(guards), **_budgeted(budget, figures, deciding[0])},
        findings=findings + failures.findings(failed, run.name) + _unmeasured(budget, figures[TUNED]),
        next=_next(run, judgement),
    )
    gate.answer(recipe, run, own["tuned"])
    return bars.with_bars(recipe, run, report)


def _sheets(
    recipe: Recipe,
    run: Run,
    graders: Sequence[Grader],
    test: Sequence[Example],
    answered: dict[str, Answered],
    by_id: dict[str, dict[str, str]],
) -> Sheets:
    """Every contestant's answers, graded by every grader."""
    models = {name: recipe.model.base for name in answered}
    sheets: Sheets = {}
    for grader in graders:
        graded = {
            name: grading.sheet(grader, test, given.texts, desk(run, name, by_id, grader.label, models))
            for name, given in answered.items()
        }
        sheets[grader.label] = {name: found for name, found in graded.items() if found is not None}
    return sheets


# --- the verdict ---


def _scores(
    run: Run, by_id: dict[str, dict[str, str]], grader: Grader, examples: Sequence[Example], answers: Sequence[str]
) -> list[float | None]:
    """The grade of each answer of the tuned model; None where a row lacks what the grader compares with."""
    found = grading.grades(grader, examples, answers, desk(run, TUNED, by_id, grader.label))
    return [None if one is None else one.score for one in found]


def _compared(sheets: Sheets, goal: Goal | None, clusters: list[str] | None) -> list[Comparison]:
    """Tuned against every contestant by every grader, within the margin where the goal gives one."""
    return adjusted(
        [
            grading.compare(
                found[TUNED],
                other,
                name,
                margin=(goal.margin_of(label, name) if goal else None) or 0.0,
                clusters=clusters,
            )
            for label, found in sheets.items()
            for name, other in found.items()
            if name != TUNED
        ],
        goal,
    )


def _broken(run: Run) -> list[str]:
    trained = run.report("train")
    return [proof.name for proof in trained.proofs if not proof.holds] if trained else []


def _nothing_to_grade(recipe: Recipe, run: Run, num_rows: int) -> Report:
    """The report of a run whose test set asks nothing, or whose recipe has no grader."""
    what = "The recipe names no grader" if num_rows else "No test row asks anything"
    if recipe.evaluate.goal is not None:
        raise DataError(
            f"{what}, so the goal cannot be measured. Give graders, and test rows with question and answer."
        )
    judgement = judge(None, [], [], _broken(run))
    message = f"{what}: how good the model is stays unknown."
    return Report(
        stage="evaluate",
        run=run.name,
        verdict=judgement.verdict,
        reason=judgement.reason,
        numbers={"rows": num_rows, "comparisons": [], "samples": [], "errors": [], "goal": None, "need": None}
        | {"changes": judgement.changes},
        findings=[Finding(name="nothing graded", severity="warning", message=message)],
        next=_next(run, judgement),
    )


def _next(run: Run, judgement: Judgement) -> str:
    if judgement.verdict == "GO":
        return f"tunewright deploy {run.folder}"
    again = f"tunewright run {run.facts().get('recipe', run.folder)} --fresh"
    if judgement.verdict == "NEED MORE" and judgement.need is not None:
        return f"Add about {judgement.need:,} test rows (data.test or data.split), then: {again}"
    return f"Read {run.path('report.html')}, change data or recipe, then: {again}"


# --- figures ---


def _slices(recipe: Recipe, test: Sequence[Example], findings: list[Finding]) -> list[str] | None:
    """The slice of each test row; None when the recipe asks for none or the rows have no such column."""
    column = recipe.evaluate.slice or (recipe.data.mix.by if recipe.data.mix else None)
    if column is None:
        return None
    if column == tasks.SOURCE:
        return [tasks.of_example(example, column) for example in test]
    values = [str(example.meta[column]) if column in example.meta else "(none)" for example in test]
    if set(values) == {"(none)"}:
        known = sorted({key for example in test for key in example.meta})
        message = f"No test row has the column '{column}' (evaluate.slice). Columns: {', '.join(known) or 'none'}."
        findings.append(Finding(name="no slices", severity="warning", message=message))
        return None
    largest = [value for value, _ in Counter(values).most_common(MAX_SLICES)]
    if len(set(values)) > MAX_SLICES:
        message = f"Column '{column}' has {len(set(values))} values; figures are shown for the {MAX_SLICES} largest."
        findings.append(Finding(name="many slices", message=message))
    return [value if value in largest else "(other)" for value in values]


def _figures(
    answered: dict[str, Answered], sheets: Sheets, slices: list[str] | None, clusters: list[str] | None
) -> dict[str, Any]:
    """For each contestant: every grader's value with its interval, the slices, and what answering cost."""
    figures: dict[str, Any] = {}
    for name, given in answered.items():
        figures[name] = {label: _measured(found[name], None, clusters) for label, found in sheets.items()}
        figures[name]["seconds"] = round(given.seconds, 3)
        figures[name]["answers_per_second"] = round(len(given.texts) / given.seconds, 2) if given.seconds else None
        figures[name]["prompt_tokens"] = given.prompt_tokens
        figures[name]["completion_tokens"] = given.completion_tokens
        if slices is not None:
            figures[name]["slices"] = {
                value: {
                    label: measured
                    for label, found in sheets.items()
                    if (measured := _measured(found[name], [n for n, of in enumerate(slices) if of == value], clusters))
                }
                for value in sorted(set(slices) - {"(other)"})
            }
    return figures


def _measured(one: Sheet, rows: list[int] | None, clusters: list[str] | None) -> dict[str, Any] | None:
    found = grading.measure(one, rows, clusters=clusters)
    if found is None:
        return None
    return {"value": round(found.value, 6), "low": round(found.low, 6), "high": round(found.high, 6), "n": found.n}


def _table(
    test: Sequence[Example], answered: dict[str, Answered], sheets: Sheets, slices: list[str] | None
) -> list[dict[str, Any]]:
    """One row for each test example: what was asked and expected, each contestant's answer and grades, and the reasons
    of a grading model.
    """
    scores = {label: {name: one.scores for name, one in found.items()} for label, found in sheets.items()}
    why = {label: {name: one.reasons for name, one in found.items()} for label, found in sheets.items()}
    why = {label: why[label] for label, found in sheets.items() if found[TUNED].grader.asks}
    return [
        {
            "id": example.id,
            "prompt": _asked(example),
            "expected": example.answer,
            "slice": slices[row] if slices is not None else None,
            "answers": {name: given.texts[row] for name, given in answered.items()},
            "confidences": {name: given.confidences[row] for name, given in answered.items()},
            "grades": {
                name: {label: by_name[name][row] for label, by_name in scores.items() if row in by_name[name]}
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
        for row, example in enumerate(test)
    ]


def _asked(example: Example) -> str:
    """The question as a person reads it: the user's message, or the whole exchange with its roles."""
    said = conversation(example)
    if len(said) == 1:
        return said[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in said)


def _numbers(
    recipe: Recipe,
    sheets: Sheets,
    deciding: str,
    comparisons: list[Comparison],
    judgement: Judgement,
    table: list[dict[str, Any]],
) -> dict[str, Any]:
    summaries = {
        label: {name: one.grader.summarise(one.examples, one.answers) | one.desk.notes for name, one in found.items()}
        for label, found in sheets.items()
    }
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


# --- findings ---


def _often_opened(recipe: Recipe, count: int, comparisons: Sequence[Comparison]) -> list[Finding]:
    """A warning when the test set was opened often, with what stays of the comparisons that gate."""
    goal = recipe.evaluate.goal
    level = goal.level if goal else 0.05
    won = [
        one for one in comparisons if goal and goal.margin_of(one.grader, one.against) is not None and one.won(level)
    ]
    still = all(one.won(level / count) for one in won) if won else None
    return openings.findings(count, level, still=still)


def _findings(
    recipe: Recipe, run: Run, test: Sequence[Example], answered: dict[str, Answered], sheets: Sheets
) -> list[Finding]:
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


def _budgeted(budget: Budget | None, figures: dict[str, Any], deciding: str) -> dict[str, Any]:
    """The budget, and who is on the Pareto front of each cost under it."""
    return {"budget": budget.model_dump() if budget else None, "fronts": fronts(figures, deciding, budget)}


def _unmeasured(budget: Budget | None, figures: dict[str, Any]) -> list[Finding]:
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
    if given.cut and name == TUNED:
        message = f"{len(given.cut)} of {len(given.texts)} answers of {name} were not finished at the longest length."
        rows, example = len(given.cut), given.cut[0]
        remedy = "Raise evaluate.max_new_tokens."
        found.append(
            Finding(name="cut answers", severity="warning", message=message, count=rows, example=example, remedy=remedy)
        )
    return found
