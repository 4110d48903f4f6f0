"""Compares runs on the test rows they share: paired tests from the answers that each run keeps. Asks no model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tunewright.core import statistics, storage
from tunewright.core.endpoint import ask_once
from tunewright.core.errors import DataError
from tunewright.core.parts import Desk, Grader
from tunewright.core.report import Finding, Report
from tunewright.data import lineage
from tunewright.stages import grading, likelihood, sampled
from tunewright.stages.desk import Kept
from tunewright.stages.grading import Sheet
from tunewright.stages.lineup import TUNED
from tunewright.stages.rivals import Key, Rival, Rows, common, is_private, rivals
from tunewright.stages.verdict import Comparison

LEVEL = 0.05
MOST_SAMPLES = 12
ANSWERING = ("latency_p50", "latency_p95", "cost_per_1000", "seconds", "prompt_tokens", "completion_tokens", "samples")
TRAINING = {  # figures of a training that are set side by side
    "steps": "steps",
    "tokens": "tokens read",
    "training_seconds": "training time",
    "trainable_parameters": "trained parameters",
    "peak_memory_bytes": "peak memory",
}


def compare(*names: str | Path, runs: str | Path = "runs", html: str | Path | None = None) -> Report:
    """How runs or releases fare against each other on the same test rows. html: where to write a page that shows it.

    Every grader that all recipes have is computed again from the kept answers; one that would have to ask a model keeps
    the grades it gave. Pairs are tested as in `evaluate`, with Holm's correction over the pairs of a grader. Raises
    NotThere, RunError, and DataError when nothing can be compared.
    """
    found = rivals(names, runs=runs)
    rows = common(found)
    sheets = _sheets(found, rows)
    if not sheets:
        kinds = ", ".join(f"{one.name}: {' '.join(g.label for g in one.recipe.the_graders())}" for one in found)
        raise DataError(f"The runs have no grader in common ({kinds}). Give them one with the same options.")
    clusters = grading.clusters_of(found[0].recipe, [found[0].rows[key].example for key in rows.keys])
    pairs = [pair for by_name in sheets.values() for pair in _pairs(by_name, clusters)]
    goal = found[0].report.numbers.get("grader")
    deciding = goal if goal in sheets else next(iter(sheets))
    report = Report(
        stage="compare",
        run=", ".join(one.name for one in found),
        contestants={one.name: _figures(one, sheets, clusters) for one in found},
        numbers={
            "runs": [_about(one) for one in found],
            "rows": {
                "common": len(rows.keys),
                "same": rows.same,
                "by_run": {one.name: len(one.rows) for one in found},
                "ids_reused": rows.reused,
            },
            "grader": deciding,
            "level": LEVEL,
            "comparisons": [_pair(*pair) for pair in pairs],
            "winners": {label: _standing(by_name, pairs) for label, by_name in sheets.items()},
            "guards": _guards(found),
            "recipes": _differences(found),
            "training": _training(found),
            "samples": [] if is_private(found) else _samples(found, rows, sheets[deciding]),
        },
        findings=_findings(found, rows, sheets),
    )
    if html is not None:
        from tunewright.stages import compare_page

        storage.write_text(Path(html), compare_page.render(report), point="page")
    return report


# --- grades ---


def _sheets(found: Sequence[Rival], rows: Rows) -> dict[str, dict[str, Sheet]]:
    """By grader and run; graders that all recipes have with the same options, whatever they call them."""
    sheets: dict[str, dict[str, Sheet]] = {}
    known = [{_options(grader): grader.label for grader in one.recipe.the_graders()} for one in found]
    for grader in found[0].recipe.the_graders():
        labels = [of.get(_options(grader)) for of in known]
        graded = {
            one.name: sheet
            for one, label in zip(found, labels, strict=True)
            if label is not None and (sheet := _sheet(one, rows.keys, grader, label)) is not None
        }
        if len(graded) == len(found) and len({tuple(sheet.rows) for sheet in graded.values()}) == 1:
            sheets[grader.label] = graded
    return sheets


def _options(grader: Grader) -> str:
    return storage.digest([grader.kind, grader.model_dump(mode="json", exclude={"name"})])


def _sheet(one: Rival, keys: Sequence[Key], grader: Grader, label: str) -> Sheet | None:
    """A run's answers graded again. label: how its own recipe calls the grader."""
    rows = [one.rows[key] for key in keys]
    examples, first = [row.example for row in rows], [row.answers[0] for row in rows]
    if grader.asks:  # what a model said once is not asked again
        return grading.sheet(grader, examples, first, scores=[row.grades.get(label) for row in rows])
    desk = Desk(
        ask=ask_once,
        contestant=TUNED,
        answers={TUNED: {example.id: text for example, text in zip(examples, first, strict=True)}},
        logprobs=likelihood.remembered(one.run, TUNED),
        kept=Kept(one.run.path("evaluate", f"kept.{label}.jsonl")),
    )
    return sampled.sheet(grader, examples, [row.answers for row in rows], desk)


def _pairs(by_name: Mapping[str, Sheet], clusters: list[str] | None) -> list[tuple[str, Comparison]]:
    """Each pair once, with Holm's p over the pairs; the name is that of the first."""
    names = list(itertools.combinations(by_name, 2))
    tested = [grading.compare(by_name[one], by_name[other], other, clusters=clusters) for one, other in names]
    adjusted = statistics.holm([one.p for one in tested])
    return [(name, replace(one, p_holm=p)) for (name, _), one, p in zip(names, tested, adjusted, strict=True)]


def _pair(name: str, one: Comparison) -> dict[str, Any]:
    """As the report tells it: `first` and `second` for what `evaluate` calls tuned and against."""
    values = asdict(one) | {"first": name, "second": one.against, "first_value": one.tuned, "second_value": one.other}
    told = {key: value for key, value in values.items() if key not in ("against", "tuned", "other")}
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in told.items()}


def _standing(by_name: Mapping[str, Sheet], pairs: Sequence[tuple[str, Comparison]]) -> dict[str, Any]:
    """Who beats whom by a grader, and who is beaten by nobody."""
    label = next(iter(by_name.values())).grader.label
    beats: dict[str, list[str]] = {name: [] for name in by_name}
    for name, one in pairs:
        if one.grader == label and one.p_holm <= LEVEL and one.difference:
            winner, loser = (name, one.against) if one.difference > 0 else (one.against, name)
            beats[winner].append(loser)
    beaten = {name for losers in beats.values() for name in losers}
    return {"beats": beats, "unbeaten": [name for name in by_name if name not in beaten]}


def _figures(one: Rival, sheets: Mapping[str, Mapping[str, Sheet]], clusters: list[str] | None) -> dict[str, Any]:
    """Values on the common rows, and what answering all of its test rows took."""
    figures: dict[str, Any] = {}
    for label, by_name in sheets.items():
        if measured := grading.measure(by_name[one.name], clusters=clusters):
            edges = {"value": measured.value, "low": measured.low, "high": measured.high}
            figures[label] = {key: round(value, 6) for key, value in edges.items()} | {"n": measured.n}
    told = one.report.contestants.get(TUNED, {})
    return figures | {key: told[key] for key in ANSWERING if told.get(key) is not None}


# --- side by side ---


def _about(one: Rival) -> dict[str, Any]:
    version = lineage.read(one.run.path("data"))
    return {
        "name": one.name,
        "folder": str(one.run.folder),
        "verdict": one.report.verdict,
        "reason": one.report.reason,
        "data_version": version.id if version else None,
        "test_rows": len(one.rows),
    }


def _guards(found: Sequence[Rival]) -> list[dict[str, Any]]:
    """One row a measure, with each run's value and state."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found:
        for guard in one.report.guards:
            for measure in guard.measures:
                told = measure.model_dump(include={"value", "low", "high", "n", "bound", "side"})
                rows.setdefault((guard.guard, measure.name), {})[one.name] = told | {"state": measure.state}
    return [{"guard": guard, "measure": name, "runs": by_run} for (guard, name), by_run in rows.items()]


def _differences(found: Sequence[Rival]) -> list[dict[str, Any]]:
    """Keys of the resolved recipes that are not the same in all, with each run's value."""
    flat = [dict(_flat(one.recipe.to_dict())) for one in found]
    keys = dict.fromkeys(key for values in flat for key in values if key != "name")
    return [
        {"key": key, "values": {one.name: values.get(key) for one, values in zip(found, flat, strict=True)}}
        for key in keys
        if any(values.get(key) != flat[0].get(key) for values in flat)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if not prefix and key in ("method", "objective") and isinstance(value, str):
            value = {"kind": value}
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _training(found: Sequence[Rival]) -> list[dict[str, Any]]:
    numbers = {one.name: trained.numbers if (trained := one.run.report("train")) else {} for one in found}
    return [
        {"key": key, "words": words, "values": {name: told.get(key) for name, told in numbers.items()}}
        for key, words in TRAINING.items()
        if any(told.get(key) is not None for told in numbers.values())
    ]


def _samples(found: Sequence[Rival], rows: Rows, by_name: Mapping[str, Sheet]) -> list[dict[str, Any]]:
    """Rows on which the grades differ, evenly from all of them."""
    scores = {name: sheet.scores for name, sheet in by_name.items()}
    places = [row for row in next(iter(scores.values())) if len({of[row] for of in scores.values()}) > 1]
    few = (
        places
        if len(places) <= MOST_SAMPLES
        else [places[n * len(places) // MOST_SAMPLES] for n in range(MOST_SAMPLES)]
    )
    shown = []
    for place in few:
        key = rows.keys[place]
        row = found[0].rows[key]
        shown.append({
            "id": row.example.id,
            "prompt": row.prompt,
            "expected": row.example.answer,
            "answers": {one.name: one.rows[key].answers[0] for one in found},
            "scores": {name: of[place] for name, of in scores.items()},
        })  # fmt: skip
    return shown


def _findings(found: Sequence[Rival], rows: Rows, sheets: Mapping[str, Mapping[str, Sheet]]) -> list[Finding]:
    told = []
    if not rows.same:
        sizes = ", ".join(f"{len(one.rows)} of {one.name}" for one in found)
        message = f"The test sets differ: figures are over the {len(rows.keys)} rows that all have (of {sizes})."
        told.append(Finding(name="other test rows", severity="warning", message=message, count=len(rows.keys)))
    if rows.reused:
        message = f"{rows.reused} ids stand for different rows in different runs; rows were matched by their content."
        told.append(Finding(name="reused ids", message=message, count=rows.reused))
    graders = dict.fromkeys(grader.label for one in found for grader in one.recipe.the_graders())
    if left_out := [label for label in graders if label not in sheets]:
        message = f"Graders that not all runs have with the same options were left out: {', '.join(left_out)}."
        told.append(Finding(name="other graders", message=message))
    return told
