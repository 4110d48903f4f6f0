"""What people and the gate say enters a report and its verdict, also long after the models were asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.core.judging import Bar
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.core.statistics import MOST_ROWS
from tunewright.stages import gate, people, rating_plan, ratings
from tunewright.stages.lineup import TUNED

Numbers = dict[str, Any]
FINDINGS = ("stale ratings", "side bias", "low self-agreement")  # made here, so made anew


def with_bars(recipe: Recipe, run: Run, report: Report) -> Report:
    """An evaluation's report with what people and the gate say, judged from the verdict that its figures gave."""
    mark = fingerprint(recipe, run)
    if mark is None:
        return report
    own = report.numbers.get("judged") or {
        "verdict": report.verdict,
        "reason": report.reason,
        "need": report.numbers.get("need"),
        "next": report.next,
        "changes": report.numbers.get("changes") or [],
    }
    of_people = people.numbers(recipe, run, report.numbers.get("grader"))
    of_gate = gate.numbers(recipe, run)
    bars = bars_of(recipe, run, of_people, of_gate, report.numbers.get("grader"))
    judged = combined(own, bars, str(run.folder))
    numbers = report.numbers | {
        "judged": own,
        "people": of_people,
        "gate": of_gate,
        "bars": [asdict(one) for one in bars],
        "rated": mark,
        "need": judged["need"],
        "need_of": judged["of"],
        "changes": [*own["changes"], *_changes(bars, str(run.folder))],
    }
    others = (*FINDINGS, "no goal") if bars else FINDINGS  # a bar is a goal, too
    kept = [one for one in report.findings if one.name not in others]
    return report.model_copy(
        update={
            "verdict": judged["verdict"],
            "reason": judged["reason"],
            "next": judged["next"],
            "numbers": numbers,
            "findings": kept + people.findings(of_people),
        }
    )


def again(recipe: Recipe, run: Run, report: Report) -> Report | None:
    """The report judged anew where ratings have come since; None where nothing has changed. No model is asked."""
    if fingerprint(recipe, run) == report.numbers.get("rated"):
        return None
    return with_bars(recipe, run, report)


def fingerprint(recipe: Recipe, run: Run) -> str | None:
    """What the bars rest on: the ratings that stand; None where there are none and none are asked for."""
    asked = bool(recipe.evaluate.people or recipe.evaluate.gate)
    return ratings.fingerprint(run) or ("none" if asked else None)


def bars_of(
    recipe: Recipe, run: Run, of_people: Numbers | None, of_gate: Numbers | None, grader: str | None
) -> list[Bar]:
    """All bars that the recipe sets."""
    asked, held = recipe.evaluate.people, recipe.evaluate.gate
    found: list[Bar] = []
    if asked is not None and (asked.beat or asked.least_alpha is not None):
        table = rating_plan.answers_of(run)
        sizes = {name: len(rating_plan.pool(table, (TUNED, name), grader).items) for name in asked.beat}
        found += people.bars(asked, of_people, sizes)
    if held is not None:
        found += gate.bars(held, of_gate)
    return found


def combined(own: Numbers, bars: Sequence[Bar], folder: str) -> Numbers:
    """The verdict of figures and bars together. A broken bar is NO-GO, an open one NEED MORE; a NO-GO stays one."""
    if not bars or own["verdict"] == "NO-GO":
        return own | {"of": "test rows"}
    reason = str(own["reason"])
    if broken := [one for one in bars if one.state == "broken"]:
        told = f"{reason} But this does not hold: {_told(broken)}."
        following = f"Read {folder}/report.html, change data or recipe, then run it again with --fresh"
        return {"verdict": "NO-GO", "reason": told, "need": None, "of": "test rows", "next": following}
    waiting = [one for one in bars if one.state == "open"]
    if not waiting:
        return own | {"reason": f"{reason} And this holds: {_told(bars)}.", "of": "test rows"}
    missing = " and ".join(_missing(one, folder) for one in _asked(waiting))
    told = f"{reason} Still open: {_told(waiting)}." + (f" Needed: {missing}." if missing else "")
    both = own["verdict"] == "NEED MORE"
    first = next((one for one in waiting if one.of == "ratings" and one.need), waiting[0])
    of = "test rows" if both else first.of
    need = own["need"] if both else sum(one.need for one in _asked(waiting) if one.of == of)
    where = "to evaluate.gate.cases" if of == "cases" else "(data.test or data.split)"
    following = own["next"] if both else f"Add about {need:,} {of} {where}, then run the recipe again"
    if not both and need >= MOST_ROWS:
        following = f"Read {folder}/report.html, change the recipe or the model, then run it again with --fresh"
    if (rate := command(bars, folder)) is not None:
        following = f"{rate}; then: tunewright evaluate {folder}"
    return {"verdict": "NEED MORE", "reason": told, "need": need, "of": of, "next": following}


def command(bars: Sequence[Bar], folder: str | Path) -> str | None:
    """The command by which the first open bar that waits for ratings gets them; None where none does."""
    waiting = [one for one in bars if one.state == "open" and one.of == "ratings" and one.need]
    return _rate(waiting[0], folder) if waiting else None


def _rate(bar: Bar, folder: str | Path) -> str:
    return f"tunewright rate {folder}" + (" --gate" if bar.name == gate.PASSING else "")


def _asked(bars: Sequence[Bar]) -> list[Bar]:
    """The bars that ask for something: each that asks for ratings; of those that ask for the same cases or test rows
    the one that asks for most.
    """
    asking = sorted((one for one in bars if one.need), key=lambda one: -one.need)
    most = {one.name if one.of == "ratings" else one.of: one for one in reversed(asking)}
    return [one for one in bars if one in most.values()]


def _missing(bar: Bar, folder: str | Path) -> str:
    if bar.need >= MOST_ROWS:
        return f"more than {MOST_ROWS:,} {bar.of}, so near is it,"
    return f"{bar.need:,} more {bar.of}" + (f" ({_rate(bar, folder)})" if bar.of == "ratings" else "")


def _changes(bars: Sequence[Bar], folder: str) -> list[str]:
    """What would settle each open bar."""
    return [
        f"{_missing(one, folder)} would tell whether {one.name}." for one in bars if one.state == "open" and one.need
    ]


def _told(bars: Sequence[Bar]) -> str:
    return " and ".join(f"{one.name} ({one.words})" for one in bars)
