"""Evaluation where there is no answer to grade: the share of test examples about which the tuned model is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tunewright.core import statistics, storage
from tunewright.core.errors import DataError
from tunewright.core.parts import Objective
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.stages import grading, lineup, openings, tuned
from tunewright.stages.verdict import Judgement, Measured, judge

if TYPE_CHECKING:
    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

AT_ONCE = 64  # examples encoded and computed together
TUNED = "tuned"


def evaluate(recipe: Recipe, run: Run, broken: Sequence[str], following: Callable[[Judgement], str]) -> Report:
    """Measure and judge. broken: proofs that do not hold. following: the next command after a verdict.

    Raises DataError when no test example can be measured and a goal asks for it, Stopped.
    """
    objective, goal = recipe.the_objective(), recipe.evaluate.goal
    assert objective.figure is not None
    decode, test = tuned.decode_of(recipe, run).model_dump(), run.split("test")
    fixed = openings.frozen(test, [], model=lineup.models(recipe, run)["tuned"].identity, decode=decode)
    openings.refuse_sealed(recipe, run, fixed)
    clusters = grading.clusters_of(recipe, test)
    started = time.monotonic()
    scores, left_out = _scores(recipe, run, objective)
    seconds = time.monotonic() - started
    if not scores and goal is not None:
        raise DataError(
            f"No test row can be measured by '{objective.figure}', so the goal cannot be. Give test rows "
            f"with {' and '.join(objective.needs)} that fit into train.max_tokens."
        )
    storage.write_jsonl(
        run.path("evaluate", "answers.jsonl"),
        [{"id": id, "right": score} for id, score in scores.items()],
        point="answers",
    )
    count = openings.opened(run, fixed)
    measured: list[Measured] = []
    figure: dict[str, Any] = {}
    if scores:
        of_row = None if clusters is None else dict(zip((one.id for one in test), clusters, strict=True))
        measured = [_measured(objective.figure, scores, of_row)]
        found = measured[0]
        figure = {"value": found.value, "low": found.low, "high": found.high, "n": len(scores)}
    judgement = judge(goal, measured, [], broken)
    numbers: dict[str, Any] = {
        "rows": len(scores),
        "grader": objective.figure,
        "comparisons": [],
        "goal": goal.model_dump() if goal else None,
        "need": judgement.need,
        "changes": judgement.changes,
        "openings": count,
        "frozen": asdict(fixed),
        "decode": decode,
        "summaries": {},
        "confusion": None,
        "errors": [],
        "samples": [],
    }
    return Report(
        stage="evaluate",
        run=run.name,
        verdict=judgement.verdict,
        reason=judgement.reason,
        contestants={TUNED: {objective.figure: figure, "seconds": round(seconds, 3)}} if figure else {},
        numbers=numbers,
        findings=_findings(goal is None, left_out)
        + grading.few_clusters(clusters)
        + openings.findings(count, goal.level if goal else 0.05, still=None),
        next=following(judgement),
    )


def _measured(figure: str, scores: dict[str, float], clusters: dict[str, str] | None) -> Measured:
    """The share of examples that the model is right about; whole clusters are drawn where examples depend on each
    other.
    """
    import numpy as np

    if clusters is None:
        found = statistics.wilson(sum(scores.values()), len(scores))
    else:
        tally = np.array([[score, 1.0] for score in scores.values()])
        of_cluster = statistics.by_cluster(tally, [clusters[id] for id in scores])
        found = statistics.bootstrap(of_cluster, lambda totals: totals[..., 0] / totals[..., 1])
    return Measured(figure, found.value, found.low, found.high, len(scores), share=clusters is None)


def _scores(recipe: Recipe, run: Run, objective: Objective) -> tuple[dict[str, float], list[str]]:
    """1, 0.5 or 0 for each test example by id, and the ids of those that could not be encoded."""
    test = run.split("test")
    assert recipe.train.max_tokens and recipe.train.micro_tokens
    scores: dict[str, float] = {}
    left_out: list[str] = []
    if not test:
        return scores, left_out
    import torch

    model = tuned.open_tuned(recipe, run)
    units: list[list[Row]] = []
    for start in range(0, len(test), AT_ONCE):
        run.stop_if_asked()
        for example in test[start : start + AT_ONCE]:
            fits = objective.lacks(example) is None
            rows = objective.encode(example, model.chat, max_tokens=recipe.train.max_tokens) if fits else []
            units.append(rows)
            left_out += [] if rows else [example.id]
    micro_tokens = recipe.train.micro_tokens
    with torch.no_grad():
        objective = objective.for_step(model, units, micro_tokens=micro_tokens, share=True)
    for start in range(0, len(units), AT_ONCE):
        run.stop_if_asked()
        scores |= _right(model, objective, units[start : start + AT_ONCE], micro_tokens)
        run.progress("evaluate", done=min(start + AT_ONCE, len(test)), total=len(test), what=f"{TUNED} examples")
    return scores, left_out


def _right(
    model: TunableModel, objective: Objective, units: Sequence[Sequence[Row]], micro_tokens: int
) -> dict[str, float]:
    import torch

    found: dict[str, float] = {}
    with torch.inference_mode():
        for rows in model.micro_batches(units, micro_tokens):
            found |= objective.right(model, model.forest(rows))
    return found


def _findings(no_goal: bool, left_out: Sequence[str]) -> list[Finding]:
    found = []
    if no_goal:
        message = "The recipe sets no goal, so every result is a GO."
        remedy = "Add evaluate.goal with a grader and at_least."
        found.append(Finding(name="no goal", severity="warning", message=message, remedy=remedy))
    if left_out:
        message = f"{len(left_out)} test rows were left out: they lack a part, or are longer than train.max_tokens."
        remedy = "Complete the rows, or raise train.max_tokens."
        found.append(
            Finding(
                name="ungraded rows",
                severity="warning",
                message=message,
                count=len(left_out),
                example=left_out[0],
                remedy=remedy,
            )
        )
    return found
