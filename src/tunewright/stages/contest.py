"""What the report page shows of an evaluation: contestants by every grader, slices, mistakes, sample answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunewright.core.report import Finding, Report
from tunewright.stages import drawing, wording

MOST_SLICES = 24
MOST_ERRORS = 8


@dataclass(frozen=True)
class Contest:
    """The contestants' figures by every grader."""

    grader: str
    num_rows: int
    at_least: float | None
    whiskers: list[drawing.Whisker]
    graders: list[str]
    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    slices: list[dict[str, Any]]
    num_slices: int
    errors: list[dict[str, Any]]
    names: list[str]
    findings: list[Finding]


@dataclass(frozen=True)
class Sample:
    """One test row with what each contestant said."""

    id: str
    slice: str | None
    prompt: wording.Shown
    expected: wording.Shown
    answers: list[dict[str, Any]]
    right: bool


def deciding(report: Report) -> str:
    """The grader that the verdict rests on."""
    goal = report.numbers.get("goal") or {}
    named = report.numbers.get("grader") or goal.get("grader")
    return str(named or next(iter(_graders(report)), ""))


def _graders(report: Report) -> list[str]:
    """Graders in the order of the report: what holds a value with an interval."""
    found: dict[str, None] = {}
    for figures in report.contestants.values():
        found |= {key: None for key, value in figures.items() if isinstance(value, dict) and "value" in value}
    return list(found)


def contest(report: Report | None) -> Contest | None:
    """The contestants of an evaluation; None before it."""
    if report is None:
        return None
    grader, figures = deciding(report), report.contestants
    goal = report.numbers.get("goal") or {}
    slices = list(dict.fromkeys(name for found in figures.values() for name in found.get("slices") or {}))
    whiskers = [drawing.whisker(name, found[grader]) for name, found in figures.items() if found.get(grader)]
    return Contest(
        grader=grader,
        num_rows=max((found[grader]["n"] for found in figures.values() if found.get(grader)), default=0),
        at_least=goal.get("at_least"),
        whiskers=whiskers,
        graders=_graders(report),
        rows=[{"name": name, **found} for name, found in figures.items()],
        comparisons=[row for row in report.numbers.get("comparisons") or [] if row["grader"] == grader],
        slices=[_slice(name, grader, figures) for name in slices[:MOST_SLICES]],
        num_slices=len(slices),
        errors=(report.numbers.get("errors") or [])[:MOST_ERRORS],
        names=list(figures),
        findings=report.findings,
    )


def _slice(name: str, grader: str, figures: dict[str, Any]) -> dict[str, Any]:
    found = [(figures[contestant].get("slices") or {}).get(name, {}).get(grader) for contestant in figures]
    return {"name": name, "n": max((one["n"] for one in found if one), default=0), "found": found}


def samples(report: Report | None) -> list[Sample]:
    """The answers that evaluation picked for showing."""
    if report is None:
        return []
    grader = deciding(report)
    return [_sample(row, grader) for row in report.numbers.get("samples") or []]


def _sample(row: dict[str, Any], grader: str) -> Sample:
    scores = row.get("scores") or {name: found.get(grader) for name, found in (row.get("grades") or {}).items()}
    answers = [
        {"name": name, "said": wording.shown(text), "score": scores.get(name), "mark": _mark(scores.get(name))}
        for name, text in row["answers"].items()
    ]
    return Sample(
        id=str(row["id"]),
        slice=row.get("slice"),
        prompt=wording.shown(row["prompt"]),
        expected=wording.shown(row.get("expected")),
        answers=answers,
        right=(scores.get("tuned") or 0) >= 0.5,
    )


def _mark(score: float | None) -> str:
    if score is None:
        return "none"
    return "right" if score >= 0.999 else "wrong" if score <= 0.001 else "part"
