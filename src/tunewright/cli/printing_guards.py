"""What guards found, as a person likes to read it in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunewright.core.report import GuardResult, Measure

MARKS = {
    "broken": ("BROKEN", "bold red"),
    "open": ("open", "yellow"),
    "holds": ("holds", "green"),
    "told": ("told", "dim"),
}


def guards_table(guards: list[GuardResult], *, brief: bool = False) -> RenderableType:
    """Every measure with its interval, from the base to the tuned model, and its bound. brief: those that gate, and the
    names of the others.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("guard", overflow="fold", ratio=1)
    for title in ("figure (95 % interval)", "bound"):
        table.add_column(title, no_wrap=True, justify="right")
    rows = [(guard.guard, measure) for guard in guards for measure in guard.measures]
    gating = [(name, measure) for name, measure in rows if measure.state != "told"]
    for name, measure in gating if brief else rows:
        word, style = MARKS[measure.state]
        table.add_row(Text(word, style=style), f"{name}: {_said(measure)}", _figure(measure), _bound(measure))
    told = [guard.guard for guard in guards if all(measure.state == "told" for measure in guard.measures)]
    names = Text(f"  guards without a bound: {', '.join(told)} (figures stand in the report)", style="dim")
    if not brief or not told:
        return table
    return Group(table, names) if gating else names


def _figure(measure: Measure) -> str:
    interval = "" if measure.low is None or measure.high is None else f" ({measure.low:.3g} to {measure.high:.3g})"
    return f"{measure.value:.3g}{interval}"


def _said(measure: Measure) -> str:
    if measure.base is None or measure.tuned is None:
        return measure.name
    return f"{measure.name}, {measure.base:.3g} -> {measure.tuned:.3g}"


def _bound(measure: Measure) -> str:
    return "" if measure.bound is None else f"{measure.side} {measure.bound:g}"
