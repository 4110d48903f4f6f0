"""Opens a run for rating, and tells what its ratings say so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunewright.core.errors import DataError
from tunewright.core.judging import PEOPLE
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import bars, people, rating_plan
from tunewright.stages import gate as gating
from tunewright.stages.rating_plan import ROWS, Order
from tunewright.stages.ratings import Session


def session(
    run: Run, *, pairs: Sequence[str] = (), rows: int = ROWS, order: Order = "random", gate: bool = False
) -> Session:
    """Raters' way through the answers of a run, or through its gate's cases. Raises NotThere, DataError."""
    recipe = run.recipe()
    if gate:
        if pairs or order != "random":
            raise DataError("A gate has cases and no pairs: leave the pairs and their order out.")
        held = recipe.evaluate.gate
        if held is None or held.by != PEOPLE:
            raise DataError(
                f"The recipe of run '{run.name}' asks people for no gate. Give evaluate.gate a file of cases, and by: "
                f"people; then: tunewright evaluate {run.folder}"
            )
        cases = rating_plan.cases_of(run)
        return Session(
            run, "case", lambda rater: rating_plan.case_turns(cases, rater=rater), criteria=held.rubric, order=order
        )
    table = rating_plan.answers_of(run)
    judged = run.report("evaluate")
    grader = judged.numbers.get("grader") if judged else None
    pools = [rating_plan.pool(table, pair, grader, order) for pair in rating_plan.pairs_of(recipe, table, pairs)]
    if not any(pool.items for pool in pools):
        names = ", ".join(" and ".join(pool.pair) for pool in pools)
        raise DataError(f"{names} give the same answer to every test row: there is nothing to rate, all are ties.")
    asked = recipe.evaluate.people
    return Session(
        run,
        "pair",
        lambda rater: rating_plan.pair_turns(pools, rater=rater, rows=rows),
        criteria=asked.rubric if asked else (),
        order=order,
    )


def ratings(run: str | Path, *, runs: str | Path = "runs") -> Report:
    """What people said so far, as a report: its numbers are `people`, `gate` and `bars`. Judges nothing: evaluate does.

    Raises NotThere.
    """
    the_run = Run.open(run, runs=runs)
    recipe = the_run.recipe()
    judged = the_run.report("evaluate")
    if judged is None:
        rating_plan.answers_of(the_run)  # tells what to do first
    grader = judged.numbers.get("grader") if judged else None
    of_people = people.numbers(recipe, the_run, grader)
    of_gate = gating.numbers(recipe, the_run)
    found = bars.bars_of(recipe, the_run, of_people, of_gate, grader)
    rated = of_people or (of_gate and of_gate["judged"])
    return Report(
        stage="rate",
        run=the_run.name,
        numbers={"people": of_people, "gate": of_gate, "bars": [vars(one) for one in found]},
        findings=people.findings(of_people),
        next=bars.command(found, the_run.folder) or f"tunewright {'evaluate' if rated else 'rate'} {the_run.folder}",
    )
