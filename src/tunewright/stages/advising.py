"""Whether to tune at all: asks the untuned contestants first, on validation rows, and says what the task needs."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.core import canaries, catalog, storage
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Listener, Run
from tunewright.stages import advice, evidence, flow, grading, lineup, rehearsing, tuned
from tunewright.stages.advice import Sheets, Weighed
from tunewright.stages.desk import desk

ROWS = 200  # validation rows that are asked at most
LEAST_ROWS = 50  # with fewer, intervals are so wide that hardly anything is decided
TRIED_SHARE = 3  # a third of the training rows at most is tried on by the prompt search, and not shown


def advise(
    recipe: str | Path | Recipe,
    *,
    changes: list[str] | None = None,
    runs: str | Path = "runs",
    fresh: bool = False,
    rows: int = ROWS,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Ask the untuned contestants on validation rows and advise: prompting, retrieval or tuning, with the evidence.

    Nothing is trained, and no test row is opened. rows: validation rows asked at most. Other options as in `run`. The
    report stands in the run's advise/report.json. Raises TunewrightError.
    """
    given, home = flow.given_recipe(recipe, changes, Path(runs))
    flow.choose(recipe, changes=changes, runs=runs, fresh=fresh, listeners=listeners)
    run = Run.open(home / given.name)
    run.listeners += listeners
    started = time.monotonic()
    with run.working("advise"), flow.stops_cleanly(run), flow.recorded(run), tuned.one_base():
        again = str(recipe) if not isinstance(recipe, Recipe) else str(run.folder)
        report = _advised(run.recipe(), run, rows, again)
        report = report.model_copy(update={"seconds": round(time.monotonic() - started, 2)})
        report.save(run.path("advise"))
    return report


def _advised(recipe: Recipe, run: Run, most: int, again: str) -> Report:
    scene = rehearsing.Scene(recipe, run, canaries.left_out(run.split("train")), run.split("validation"))
    if recipe.the_objective().figure is not None:
        raise DataError(
            f"Objective '{recipe.the_objective().kind}' has no answers to grade, so nobody is asked untuned. Train."
        )
    asked = _drawn(scene.graded, most)
    if not asked:
        raise DataError(
            f"No validation row can be graded by '{rehearsing.deciding(recipe).label}', and advice is measured on "
            "these alone. Give data.split.validation a share."
        )
    own = lineup.models(recipe, run)
    asking = lineup.Asking(recipe, run, own, folder=run.path("advise"))
    training = asking.training()
    tried = _drawn(training, min(ROWS, len(training) // TRIED_SHARE))
    held = {one.id for one in tried}
    scene = rehearsing.Scene(recipe, run, [one for one in training if one.id not in held], tried)
    entrants = {one.label: asking.entrant(one, asked, training, scene) for one in contestants(recipe, run)}
    sheets = _sheets(recipe, run, asked, entrants)
    weighed = _weigh(recipe, run, training, asked, entrants, sheets)
    found = advice.advised(weighed)
    labels = list(sheets)
    figures = {
        name: {label: _measured(sheets[label][name], weighed.clusters) for label in labels} | entrant.answered.costs()
        for name, entrant in entrants.items()
    }
    if (prompt := next((one.rehearsed["options"] for one in entrants.values() if one.rehearsed), None)) is not None:
        storage.write_text(run.path("advise", "prompt.yaml"), _yaml(prompt))
    return Report(
        stage="advise",
        run=run.name,
        contestants=figures,
        numbers={
            "advice": found.what,
            "sure": found.sure,
            "because": found.because,
            "rows": len(asked),
            **weighed.told(),
            "rehearsed": {name: one.rehearsed for name, one in entrants.items() if one.rehearsed},
        },
        findings=_findings(recipe, asked),
        next=advice.following(found.what, run, again),
    )


def contestants(recipe: Recipe, run: Run) -> list[Contestant]:
    """Those that the recipe names and that need no training, and the usual ones beside them."""
    named = [part for part in recipe.the_contestants() if part.who != "tuned"]
    chosen = run.report("choose")
    reads_only = chosen is not None and chosen.numbers["model"]["is_encoder"]
    if not recipe.the_objective().asks_base or reads_only:
        return named
    usual: list[str | dict[str, Any]] = ["base", "few_shot", "prompt"]
    if importlib.util.find_spec("bm25s") is not None and recipe.data.retrieval is None:
        usual.append({"kind": "retrieval", "over": "rows"})
    kinds = {part.kind for part in named}
    made: list[Contestant] = [catalog.build("contestants", choice) for choice in usual]
    found = [*named, *(part for part in made if part.kind not in kinds)]
    return sorted(found, key=lambda part: part.kind != "base")


def _drawn(rows: Sequence[Example], most: int) -> list[Example]:
    """At most so many rows, by a hash of their ids, in their order."""
    if len(rows) <= most:
        return list(rows)
    ranked = sorted((hashlib.sha256(one.id.encode()).digest(), place) for place, one in enumerate(rows))
    return [rows[place] for place in sorted(place for _, place in ranked[:most])]


def _sheets(recipe: Recipe, run: Run, asked: Sequence[Example], entrants: dict[str, lineup.Entrant]) -> Sheets:
    """The deciding grader's figures first, then the others'."""
    first = rehearsing.deciding(recipe)
    graders = [first, *(one for one in recipe.the_graders() if one.label != first.label)]
    by_id = {
        name: {row.id: text for row, text in zip(asked, one.answered.texts, strict=True)}
        for name, one in entrants.items()
    }
    found: Sheets = {}
    for grader in graders:
        graded = {
            name: grading.sheet(grader, asked, one.answered.texts, desk(run, name, by_id, grader.label))
            for name, one in entrants.items()
        }
        found[grader.label] = {name: sheet for name, sheet in graded.items() if sheet is not None}
    return {label: sheets for label, sheets in found.items() if len(sheets) == len(entrants)}


def _weigh(
    recipe: Recipe,
    run: Run,
    training: Sequence[Example],
    asked: Sequence[Example],
    entrants: dict[str, lineup.Entrant],
    sheets: Sheets,
) -> Weighed:
    """All that speaks for one advice or another."""
    grader, goal = rehearsing.deciding(recipe), recipe.evaluate.goal
    graded = sheets.get(grader.label, {})
    values = {name: float(grader.value(sheet.tally.sum(axis=0))) for name, sheet in graded.items()}
    best = max(values, key=lambda name: values[name], default=None)
    labels = lineup.models(recipe, run)["base"].decode.labels
    reading = {name for name, one in entrants.items() if name in _searching(recipe)}
    passages = _shown(entrants, reading)
    return Weighed(
        grader=grader.label,
        at_least=goal.at_least if goal is not None else None,
        clusters=grading.clusters_of(recipe, asked),
        best=best,
        sheets=graded,
        reading=reading,
        labels=bool(labels),
        proxy=evidence.learned(grader, training, asked) if labels else [],
        novelty=None if labels else evidence.novelty(training, asked),
        supported=None if labels or passages is None else evidence.supported(asked, passages),
        over_documents=_has_documents(recipe),
        form=evidence.errors_of_form(graded[best], labels) if best is not None else None,
        tuning=_tuning(recipe, run),
    )


def _searching(recipe: Recipe) -> set[str]:
    """Labels of the contestants that read passages (the usual one has its kind for a label)."""
    return {part.label for part in recipe.the_contestants() if part.kind == "retrieval"} | {"retrieval"}


def _has_documents(recipe: Recipe) -> bool:
    named = (part.model_dump().get("documents") for part in recipe.the_contestants() if part.kind == "retrieval")
    return recipe.data.retrieval is not None or any(named)


def _shown(entrants: dict[str, lineup.Entrant], reading: set[str]) -> list[str] | None:
    """What a contestant that reads passages was sent for each row; None where none does."""
    name = next((name for name in entrants if name in reading), None)
    if name is None:
        return None
    return [
        "\n".join(str(said.get("content", "")) for said in one.messages[-one.own :]) for one in entrants[name].questions
    ]


def _tuning(recipe: Recipe, run: Run) -> dict[str, Any]:
    """What training would take, by `choose`."""
    chosen = run.report("choose")
    assert chosen is not None
    seconds, price = chosen.numbers.get("seconds"), recipe.evaluate.hour_price
    cost = None if price is None or seconds is None else round(price * seconds / 3600, 4)
    return {"seconds": seconds, "memory_bytes": chosen.numbers.get("memory_bytes"), "cost": cost}


def _measured(sheet: grading.Sheet, clusters: Sequence[str] | None) -> dict[str, Any]:
    found = grading.measure(sheet, clusters=clusters)
    assert found is not None
    return {key: value for key, value in asdict(found).items() if key in ("value", "low", "high", "n")}


def _yaml(options: dict[str, Any]) -> str:
    import yaml

    return "# A contestant for evaluate.against\n" + yaml.safe_dump([options], sort_keys=False, allow_unicode=True)


def _findings(recipe: Recipe, asked: Sequence[Example]) -> list[Finding]:
    found = []
    if len(asked) < LEAST_ROWS:
        message = f"Only {len(asked)} validation rows can be asked: intervals are wide, and little is decided."
        remedy = "Give data.split.validation a larger share, or bring more rows."
        found.append(Finding(name="few rows", severity="warning", message=message, count=len(asked), remedy=remedy))
    if recipe.evaluate.goal is None or recipe.evaluate.goal.at_least is None:
        message = "The recipe sets no bar, so what is good enough is not known."
        remedy = "Add evaluate.goal with a grader and at_least."
        found.append(Finding(name="no bar", message=message, remedy=remedy))
    return found
