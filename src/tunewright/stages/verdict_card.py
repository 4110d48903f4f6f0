"""What the pages say of a verdict: each thing asked for as a line, guards with their bounds, people's ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunewright.core.budget import FIGURES
from tunewright.core.report import GuardResult, Measure, Report
from tunewright.stages import plotting, wording

TO = "to"
MOST_SAMPLES = 12  # of one guard
WIDEST = 8  # columns of a table


@dataclass(frozen=True)
class Line:
    """One thing that the verdict rests on: what was asked for, what was measured, and whether that holds."""

    what: str
    asked: str
    measured: str
    state: str  # holds, open, broken


@dataclass(frozen=True)
class GuardCard:
    """A guard as the page shows it. samples: a few rows, each as texts under headings."""

    name: str
    question: str
    state: str
    measures: list[tuple[Measure, plotting.Strip | None]]
    findings: list[Any]
    samples: list[list[tuple[str, wording.Shown]]]
    reliability: plotting.Curve | None = None
    coverage: plotting.Curve | None = None


@dataclass(frozen=True)
class VerdictCard:
    """The verdict with everything it rests on."""

    lines: list[Line]
    changes: list[str]
    looks: int
    guards: list[GuardCard]
    people: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """Plain values under headings."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def verdict_card(report: Report | None, broken: Sequence[str] = ()) -> VerdictCard | None:
    """What a verdict rests on; None before it. broken: names of proofs that do not hold."""
    if report is None:
        return None
    looks = report.numbers.get("openings")
    return VerdictCard(
        lines=lines(report, broken),
        changes=[wording.sentence(str(one)) for one in report.numbers.get("changes") or []],
        looks=looks if isinstance(looks, int) else 0,
        guards=[_guard(one) for one in report.guards],
        people=tables("", report.numbers.get("people")) + tables("hand-picked cases", report.numbers.get("gate")),
    )


# --- what was asked for ---


def lines(report: Report, broken: Sequence[str] = ()) -> list[Line]:
    """Every bar, contestant, guard and budget that the verdict rests on; worst first."""
    found = [Line(f"proof {name}", "holds", "does not hold", "broken") for name in broken]
    found += [*_goal(report), *_bars(report), *_guards(report.guards), *_budget(report)]
    return sorted(found, key=lambda line: ("broken", "open", "holds").index(line.state))


def _goal(report: Report) -> Iterator[Line]:
    """The bars of the goal (`also` holds more of them), and comparisons that gate or are lost."""
    goal = report.numbers.get("goal") or {}
    bars = [goal, *(goal.get("also") or [])] if goal else [{"grader": report.numbers.get("grader")}]
    figures, level = report.contestants.get("tuned") or {}, goal.get("level", 0.0)
    for bar in bars:
        grader, least = str(bar["grader"]), bar.get("at_least")
        figure = figures.get(grader)
        if least is not None and figure:
            state = "holds" if figure["low"] >= least else "broken" if figure["high"] < least else "open"
            yield Line(grader, f"at least {least:.3f}", f"{interval(figure)}, {wording.count(figure['n'])} rows", state)
    named = {(bar["grader"], name): bar.get("margin") or 0.0 for bar in bars for name in bar.get("beat") or []}
    for one in report.numbers.get("comparisons") or []:
        key = (one["grader"], one["against"])
        margin = named.get(key, 0.0)
        sure = one["p_holm"] <= level
        won, lost = sure and one["difference"] > -margin, sure and one["difference"] < -margin
        if key in named or (lost and any(one["grader"] == bar["grader"] for bar in bars)):
            asked = "better than" if key in named else "not worse than"
            asked = f"lower by less than {margin:g} than" if margin else asked
            measured = f"{wording.signed(one['difference'])} ({wording.signed(one['low'])} {TO} "
            measured += f"{wording.signed(one['high'])}), {wording.probability(one['p_holm'])}"
            state = "holds" if won else "broken" if lost else "open"
            yield Line(one["grader"], f"{asked} {one['against']}", measured, state)


def _bars(report: Report) -> Iterator[Line]:
    """What people and hand-picked cases must say."""
    for one in report.numbers.get("bars") or []:
        yield Line("people", str(one["name"]), str(one["words"]), one["state"])


def _guards(guards: Sequence[GuardResult]) -> Iterator[Line]:
    for guard in guards:
        for one in guard.measures:
            if one.state != "told":
                yield Line(
                    f"guard {guard.guard}",
                    f"{one.name} {one.side} {wording.brief(one.bound or 0)}",
                    reach(one),
                    one.state,
                )
        for bound in guard.unmeasured:
            yield Line(f"guard {guard.guard}", f"the bound of {bound}", "not measured", "open")


def _budget(report: Report) -> Iterator[Line]:
    figures = report.contestants.get("tuned") or {}
    budget = report.numbers.get("budget") or {}
    for key, asked, form in (
        ("latency", "95 of 100 answers within {}", wording.took_briefly),
        ("cost_per_1000", "1,000 answers for at most {}", wording.brief),
    ):
        if (bound := budget.get(key)) is not None:
            value = figures.get(FIGURES[key])
            measured = "not measured" if value is None else form(value)
            state = "open" if value is None else "holds" if value <= bound else "broken"
            yield Line("budget", asked.format(form(bound)), measured, state)


def interval(figure: Mapping[str, Any]) -> str:
    """A figure with its interval."""
    return f"{figure['value']:.3f} ({figure['low']:.3f} {TO} {figure['high']:.3f})"


def reach(one: Measure) -> str:
    """A guard's measure with its interval where it has one."""
    if one.low is None or one.high is None:
        return wording.brief(one.value)
    return f"{wording.brief(one.value)} ({wording.brief(one.low)} {TO} {wording.brief(one.high)})"


# --- guards and people ---


def _guard(one: GuardResult) -> GuardCard:
    samples = []
    for row in one.samples[:MOST_SAMPLES]:
        samples.append([(str(key), wording.shown(_plain(value))) for key, value in row.items()])
    return GuardCard(
        name=one.guard,
        question=one.question,
        state=one.state,
        measures=[(measure, plotting.strip(measure)) for measure in one.measures],
        findings=one.findings,
        samples=samples,
        reliability=plotting.reliability(one.figures.get("reliability") or []),
        coverage=plotting.coverage(one.figures.get("coverage") or []),
    )


def tables(title: str, values: Any) -> list[Table]:
    """Plain values of whatever shape as tables: rows of mappings as they are, a mapping as keys and values."""
    if isinstance(values, list) and values and all(isinstance(one, dict) for one in values):
        heads = list(dict.fromkeys(key for one in values for key in one))
        rows = [[_plain(one.get(head)) for head in heads] for one in values]
        if len(heads) > WIDEST:  # a page is not wide enough: a line for each key
            return [Table(title, [], [[_words(head), *cells] for head, *cells in zip(heads, *rows, strict=True)])]
        return [Table(title, [_words(head) for head in heads], rows)]
    if not isinstance(values, dict):
        return [Table(title, [], [[title, _plain(values)]])] if values not in (None, []) else []
    nested = {key: value for key, value in values.items() if isinstance(value, dict | list) and not _is_flat(value)}
    flat = [[_words(key), _plain(value)] for key, value in values.items() if key not in nested and value != []]
    found = [Table(title, [], flat)] if flat else []
    for key, value in nested.items():
        found += tables(f"{title} {_words(key)}".strip(), value)
    return found


def _is_flat(value: Any) -> bool:
    """Whether something fits into a cell: a list of plain values, or a figure with its interval."""
    if isinstance(value, list):
        return not any(isinstance(one, dict | list) for one in value)
    return _is_interval(value)


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), int | float) for key in ("value", "low", "high"))


def _words(key: Any) -> str:
    return str(key).replace("_", " ")


def _plain(value: Any) -> str:
    if _is_interval(value):
        return interval(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return wording.measured(value)
    return wording.option(value)
