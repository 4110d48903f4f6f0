"""What the report page shows of an evaluation: contestants by every grader, slices, mistakes, sample answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunewright.core import repeated
from tunewright.core.report import Finding, Report
from tunewright.stages import plotting, wording
from tunewright.stages.plotting import Panel, Trade

MOST_SLICES = 24
MOST_ERRORS = 8
MOST_WEAK, MOST_CLUSTERS = 10, 6  # groups and clusters of failing rows


@dataclass(frozen=True)
class Repeated:
    """Several answers to a row by a grader: columns (`pass@k` beyond pass@1, which is the value itself, `all k`),
    and each contestant's figures in them."""

    grader: str
    heads: list[str]
    rows: list[tuple[str, list[dict[str, Any] | None]]]


@dataclass(frozen=True)
class Contest:
    """The contestants' figures by every grader."""

    grader: str
    num_rows: int
    at_least: float | None
    panels: list[Panel]
    trades: list[Trade]
    graders: list[str]
    costs: list[str]
    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    repeated: list[Repeated]
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
    outcomes: list[str]  # of tuned: won, lost, wrong


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
    graders = _graders(report)
    num_rows = max((found[grader]["n"] for found in figures.values() if found.get(grader)), default=0)
    costs = cost_cells(figures, report.numbers.get("rows") or num_rows)
    ordered = [grader, *(one for one in graders if one != grader)]
    bars = {grader: goal.get("at_least")}
    panels = [plotting.panel(one, figures, mine=["tuned"], at_least=bars.get(one)) for one in ordered]
    return Contest(
        grader=grader,
        num_rows=num_rows,
        at_least=goal.get("at_least"),
        panels=[one for one in panels if one is not None],
        trades=plotting.trades(figures, grader, report.numbers.get("fronts") or {}, report.numbers.get("budget")),
        graders=graders,
        costs=list(costs),
        rows=[
            {"name": name, "costs": [cells[name] for cells in costs.values()], **found}
            for name, found in figures.items()
        ],
        comparisons=[row for row in report.numbers.get("comparisons") or [] if row["grader"] == grader],
        repeated=[_repeated(one, figures) for one in ordered if any(one in _several(of) for of in figures.values())],
        slices=[_slice(name, grader, figures) for name in slices[:MOST_SLICES]],
        num_slices=len(slices),
        errors=(report.numbers.get("errors") or [])[:MOST_ERRORS],
        names=list(figures),
        findings=report.findings,
    )


def _several(figures: Mapping[str, Any]) -> dict[str, Any]:
    return figures.get("repeated") or {}


def _repeated(grader: str, figures: Mapping[str, Any]) -> Repeated:
    found = {name: _several(of)[grader] for name, of in figures.items() if grader in _several(of)}
    heads = [head for head in dict.fromkeys(head for of in found.values() for head in of) if head != repeated.ONCE]
    return Repeated(grader, heads, [(name, [of.get(head) for head in heads]) for name, of in found.items()])


def failing(report: Report | None) -> dict[str, Any] | None:
    """Where the tuned model fails (stages/failures.py), the weakest groups first; None where nothing was graded."""
    failed = report.numbers.get("failures") if report else None
    if not failed:
        return None
    weak = sorted((one for one in failed["groups"] if one["weak"]), key=lambda one: float(one["p"]))
    return {**failed, "weak": weak[:MOST_WEAK], "clusters": failed["clusters"][:MOST_CLUSTERS]}


def cost_cells(figures: Mapping[str, Mapping[str, Any]], num_rows: int) -> dict[str, dict[str, str]]:
    """What answering so many rows took, as a column of cells by contestant for each figure that anybody has."""
    found: dict[str, dict[str, str]] = {}

    def column(head: str, cell: Callable[[Mapping[str, Any]], str | None]) -> None:
        cells = {name: cell(one) for name, one in figures.items()}
        if any(cells.values()):
            found[head] = {name: text or "-" for name, text in cells.items()}

    column("time", lambda one: _form(one, "seconds", wording.took))
    column("half within", lambda one: _form(one, "latency_p50", wording.took_briefly))
    column("95 % within", lambda one: _form(one, "latency_p95", wording.took_briefly))
    column("cost of 1,000", lambda one: _form(one, "cost_per_1000", wording.brief))
    column("tokens in + out", lambda one: _tokens(one, num_rows))
    return found


def _tokens(one: Mapping[str, Any], num_rows: int) -> str | None:
    """Tokens of one answer: those read and those written."""
    if not num_rows or one.get("prompt_tokens") is None:
        return None
    answers = num_rows * (one.get("samples") or 1)
    read, written = one["prompt_tokens"] / answers, (one.get("completion_tokens") or 0) / answers
    return f"{wording.count(read)} + {wording.count(written)}"


def _form(one: Mapping[str, Any], key: str, form: Callable[[float], str]) -> str | None:
    value = one.get(key)
    return None if value is None else form(value)


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
        {"name": name, "said": wording.shown(text), "score": scores.get(name), "mark": mark(scores.get(name))}
        | {"right": (row.get("right") or {}).get(name)}
        for name, text in row["answers"].items()
    ]
    return Sample(
        id=str(row["id"]),
        slice=row.get("slice"),
        prompt=wording.shown(row["prompt"]),
        expected=wording.shown(row.get("expected")),
        answers=answers,
        outcomes=_outcomes(scores),
    )


def _outcomes(scores: Mapping[str, float | None]) -> list[str]:
    """How tuned fared on a row: better than some contestant, worse than some, or wrong."""
    mine = scores.get("tuned")
    if mine is None:
        return []
    others = [score for name, score in scores.items() if name != "tuned" and score is not None]
    told = {"won": any(mine > one for one in others), "lost": any(mine < one for one in others), "wrong": mine < 0.5}
    return [name for name, holds in told.items() if holds]


def filters(shown: list[Sample]) -> list[tuple[str, str, int]]:
    """The choices above the answers: id, words, and how many are shown; outcomes that no row has are left out."""
    words = {"won": "tuned won", "lost": "tuned lost", "wrong": "tuned is wrong"}
    counted = [(name, told, sum(name in one.outcomes for one in shown)) for name, told in words.items()]
    return [("all", "all", len(shown)), *(one for one in counted if one[2])]


def mark(score: float | None) -> str:
    """How a grade is drawn: right, wrong, part, or none."""
    if score is None:
        return "none"
    return "right" if score >= 0.999 else "wrong" if score <= 0.001 else "part"
