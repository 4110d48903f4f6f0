"""The learning curve of a run: what is asked for is measured, kept in choose/learning_curve.json, and told in choose's
report.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tunewright.core import choosing, storage
from tunewright.core.choosing import LearningCurve
from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run

DECIDING = ("model", "method", "objective", "train", "retention")  # sections that another curve follows from


def asking(source: str | Path, changes: list[str] | None, runs: Path) -> list[str]:
    """Changes of a recipe with which it asks for the curve, as it does already or with the usual options."""
    from tunewright.stages import flow

    given, _ = flow.given_recipe(source, changes, runs)
    on = [] if given.choose.learning_curve is not None else ["choose.learning_curve=true"]
    return [*(changes or []), *on]


def added(report: Report, given: Recipe, filled: Recipe, run: Run) -> Report:
    """The report of choose with the curve in it: measured now where the recipe asks for it, else as it was measured
    from the same rows and settings. Raises DataError, Stopped.
    """
    path = run.path("choose", "learning_curve.json")
    options = filled.choose.learning_curve
    if options is None and not path.exists():
        return report
    inputs = _inputs(filled, run)
    kept = storage.read_json(path) if path.exists() else {}
    asked = options.model_dump(mode="json") if options else kept.get("options")
    named = choosing.fingerprint(filled)
    same = kept.get("inputs") == inputs and kept.get("options") == asked and kept.get("without") == named
    if options is None and kept.get("inputs") != inputs:
        return report
    if options is not None and not same:
        kept = {"inputs": inputs, "options": asked, "without": named}
        kept["curve"] = measure(options, given, filled, run)
        storage.write_json(path, kept)
    curve = kept["curve"]
    numbers = {**report.numbers, "learning_curve": curve}
    return report.model_copy(update={"numbers": numbers, "findings": [*report.findings, *_findings(curve)]})


def measure(options: LearningCurve, given: Recipe, filled: Recipe, run: Run) -> dict[str, Any]:
    """Train on parts of the rows and read the curve. Raises DataError, Stopped."""
    from tunewright.data.proxy import NAME
    from tunewright.stages import curve_reading, curve_trainings

    started = time.monotonic()
    on = curve_trainings.bench(options, given, filled, run)
    without = _left_out(options.without, run) if options.without else None
    todo = curve_trainings.parts(on, without)
    if without is not None and not any(part.without and part.size < len(on.training) for part in todo):
        raise DataError(
            f"choose.learning_curve.without: none of the {len(without):,} rows of {options.without} is a training row. "
            f"Their ids are those of {run.path('data', 'train.jsonl')}."
        )
    trained = curve_trainings.train_all(on, todo)
    goal = filled.evaluate.goal
    bar = goal.at_least if goal is not None and goal.grader == on.grader.label else None
    curve = curve_reading.told(trained, num_rows=len(on.training), goal=bar)
    proxy = options.model == "proxy"
    base = filled.model.base
    name = NAME if proxy else Path(base).name if Path(base).is_absolute() else base
    seconds = round(time.monotonic() - started, 1)
    return {"model": name, "proxy": proxy, "trainings": len(todo), **curve, "seconds": seconds}


def _inputs(filled: Recipe, run: Run) -> str:
    """A digest of what a curve follows from."""
    values = filled.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    files = [storage.sha256(run.path("data", f"{name}.jsonl")) for name in ("train", "validation")]
    graders = (filled.evaluate.graders or [])[:1]
    return storage.digest([files, graders, {key: values.get(key) for key in DECIDING}])


def _left_out(named: str, run: Run) -> set[str]:
    """Ids of the rows to leave out: those of a file, or of a finding of prepare."""
    from tunewright.data import sources

    if Path(named).is_file():
        return _ids(named)
    prepared = run.report("prepare")
    names = sources.names(list(prepared.numbers.get("sources", {}))) if prepared else {}
    known: set[str] = set()
    found = set()
    for row in storage.read_jsonl(run.path("data", "findings.jsonl")):
        known.add(str(row.get("finding")))
        if row.get("finding") == named:
            found.add(f"{names.get(row['source'])}:{row['line']}")
    if not found:
        raise NotThere(f"choose.learning_curve.without: {unknown('file or finding', named, known - {'None'})}")
    return found


def _ids(path: str) -> set[str]:
    """The ids in a file: of JSON lines with an `id`, or one on each line."""
    import json

    found = set()
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("{"):
            try:
                text = str(json.loads(text)["id"])
            except (ValueError, KeyError):
                raise DataError(
                    f"{path}: a line is neither an id nor a JSON object with one: {line[:80]!r}. Write one id a line."
                ) from None
        if text:
            found.add(text)
    return found


def _findings(curve: dict[str, Any]) -> list[Finding]:
    of = f"Learning curve by a {curve['model']}, not your model: " if curve["proxy"] else "Learning curve: "
    found = [
        Finding(
            name="learning_curve",
            severity="warning" if curve["refused"] else "info",
            message=of + curve["sentence"],
            remedy="Give more validation rows, points or draws; then it may be told." if curve["refused"] else None,
        )
    ]
    if curve["cleaning"]:
        found.append(Finding(name="cleaning", message=of + curve["cleaning"]["sentence"]))
    return found
