"""Stage evaluate: the tuned model and its contestants answer the test set; graders grade; figures give a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tunewright.core import statistics, storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.goal import Goal
from tunewright.core.parts import Grader
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, GuardResult, Report
from tunewright.core.run import Run
from tunewright.stages import (
    bars,
    failures,
    figures,
    gate,
    grading,
    guarding,
    likelihood,
    lineup,
    openings,
    right,
    sampled,
    tuned,
    worth_a_look,
)
from tunewright.stages.asking import Answered
from tunewright.stages.desk import desk
from tunewright.stages.figures import Sheets
from tunewright.stages.lineup import TUNED
from tunewright.stages.verdict import Comparison, Judgement, adjusted, doubted, judge


def evaluate(recipe: Recipe, run: Run) -> Report:
    """Measure the tuned model and its contestants on the test set; judge. Raises DataError, NotThere, Stopped."""
    with tuned.one_base():  # contestants that stand on one base share it in memory
        return _evaluate(recipe, run)


def _evaluate(recipe: Recipe, run: Run) -> Report:
    objective = recipe.the_objective()
    if objective.figure is not None:
        return right.evaluate(recipe, run, _broken(run), lambda judgement: _next(run, judgement))
    test = [example for example in run.split("test") if example.prompt and objective.imitates(example)]
    graders = recipe.the_graders()
    if not test or not graders:
        return _nothing_to_grade(recipe, run, len(test))
    own = lineup.models(recipe, run)
    fixed = openings.frozen(test, graders, model=own["tuned"].identity, decode=_asked(recipe, own["tuned"]))
    openings.refuse_sealed(recipe, run, fixed)
    entrants = lineup.entrants(recipe, run, test, own)
    count = openings.opened(run, fixed)
    graded = _graded(recipe, run, test, graders, entrants)
    by = next(grader for grader in graders if grader.label == graded.deciding[0])
    guards = guarding.guard(recipe, run, own, entrants, partial(_scores, run, graded.by_id, by))
    report = _judged(recipe, run, graded, guards, worth_a_look.often_opened(recipe, count, graded.comparisons))
    opened = {"openings": count, "frozen": asdict(fixed), "decode": own["tuned"].decode.model_dump()}
    tried = {"rehearsed": {name: one.rehearsed for name, one in entrants.items() if one.rehearsed}}
    report = report.model_copy(update={"numbers": report.numbers | opened | tried})
    gate.answer(recipe, run, own["tuned"])
    return bars.with_bars(recipe, run, report)


@dataclass(frozen=True)
class Graded:
    """What was asked, answered and graded. deciding: the graders that the verdict rests on, the first one first."""

    test: list[Example]
    answered: dict[str, Answered]
    by_id: dict[str, dict[str, str]]
    sheets: Sheets
    deciding: list[str]
    clusters: list[str] | None
    comparisons: list[Comparison]
    findings: list[Finding]


def _graded(
    recipe: Recipe, run: Run, test: list[Example], graders: Sequence[Grader], entrants: dict[str, lineup.Entrant]
) -> Graded:
    """Every contestant's answers graded by every grader, and compared. Raises DataError where nothing can be graded."""
    goal, answered = recipe.evaluate.goal, {name: entrant.answered for name, entrant in entrants.items()}
    by_id = sampled.by_id(test, answered)
    sheets = _sheets(recipe, run, graders, test, entrants, by_id)
    findings = worth_a_look.of_answers(recipe, test, answered, sheets)
    sheets = {label: found for label, found in sheets.items() if found}
    deciding = goal.graders if goal else [next(iter(sheets), graders[0].label)]
    grading.refuse_idle([label for label in deciding if label not in sheets])
    for bar in goal.bars if goal else []:
        if unweighed := [name for name in bar.beat if name not in sheets[bar.grader]]:
            raise DataError(
                f"Grader '{bar.grader}' weighs texts by the contestant's model, and '{unweighed[0]}' has none here. "
                "Take it out of beat, or let another grader decide."
            )
    clusters = grading.clusters_of(recipe, test)
    findings += grading.few_clusters(clusters)
    return Graded(test, answered, by_id, sheets, deciding, clusters, _compared(sheets, goal, clusters), findings)


def _judged(recipe: Recipe, run: Run, graded: Graded, guards: list[GuardResult], warnings: Sequence[Finding]) -> Report:
    """The verdict and all that stands beside it; rows are written to evaluate/answers.jsonl."""
    findings = [*graded.findings, *warnings]
    slices = figures.slices(recipe, graded.test, findings)
    contestants = figures.of_contestants(graded.answered, graded.sheets, slices, graded.clusters)
    goal, budget = recipe.evaluate.goal, recipe.evaluate.budget
    deciding = [graded.sheets[label][TUNED] for label in graded.deciding]
    measured = [one for sheet in deciding if (one := grading.measure(sheet, clusters=graded.clusters))]
    over = budget.over(contestants[TUNED]) if budget else []
    judgement = judge(goal, measured, graded.comparisons, _broken(run), guards, over)
    judgement = doubted(judgement, [doubt for sheet in deciding for doubt in sheet.desk.doubts if goal])
    table = figures.of_rows(graded.test, graded.answered, graded.sheets, slices)
    storage.write_jsonl(run.path("evaluate", "answers.jsonl"), table, point="answers")
    of_tuned = failures.of_sheets(graded.sheets[graded.deciding[0]])
    failed = failures.analyse(of_tuned, run.split("train"), slices)
    numbers = figures.numbers(recipe, graded.sheets, graded.deciding[0], graded.comparisons, judgement, table)
    numbers |= {"clusters": len(set(graded.clusters)) if graded.clusters else None, "failures": failed}
    numbers |= {"escalation": guarding.escalation(guards)}
    numbers |= figures.budgeted(budget, contestants, graded.deciding[0])
    return Report(
        stage="evaluate",
        run=run.name,
        verdict=judgement.verdict,
        reason=judgement.reason,
        contestants=contestants,
        guards=guards,
        numbers=numbers,
        findings=[
            *findings,
            *failures.findings(failed, run.name),
            *worth_a_look.unmeasured(budget, contestants[TUNED]),
        ],
        next=_next(run, judgement),
    )


def _sheets(
    recipe: Recipe,
    run: Run,
    graders: Sequence[Grader],
    test: Sequence[Example],
    entrants: dict[str, lineup.Entrant],
    by_id: dict[str, dict[str, str]],
) -> Sheets:
    """Every contestant's answers, graded by every grader."""
    models = {name: one.speaks_as(recipe) for name, one in entrants.items()}
    sure = {
        name: {row.id: told for row, told in zip(test, one.answered.confidences, strict=True)}
        for name, one in entrants.items()
    }
    likely = {name: likelihood.logprobs(run, one) for name, one in entrants.items()}
    sheets: Sheets = {}
    for grader in graders:
        graded: dict[str, grading.Sheet | None] = {}
        for name, one in entrants.items():
            at = desk(run, name, by_id, grader.label, models, confidences=sure[name], logprobs=likely[name])
            graded[name] = sampled.sheet(grader, test, sampled.of_rows(one.answered), at)
        sheets[grader.label] = {name: found for name, found in graded.items() if found is not None}
    return sheets


def _asked(recipe: Recipe, model: lineup.Model) -> dict[str, Any]:
    """How the tuned model is asked: its way of decoding, and how often where it answers more than once."""
    samples = recipe.evaluate.samples
    return model.decode.model_dump() | ({"samples": samples} if samples > 1 else {})


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
    if judgement.verdict == "NEED MORE" and judgement.need is not None and judgement.need < statistics.MOST_ROWS:
        return f"Add about {judgement.need:,} test rows (data.test or data.split), then: {again}"
    if judgement.verdict == "NEED MORE":  # nothing to train again for
        return f"Do what the reason says in the recipe, then: {again.removesuffix(' --fresh')}"
    return f"Read {run.path('report.html')}, change data or recipe, then: {again}"
