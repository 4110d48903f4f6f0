"""The contestants of a report in a terminal: side by side where they fit, below each other where they are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tunewright.cli.progress import duration
from tunewright.core import repeated

FIGURE_WIDTH = 17  # of a value with its interval
Figures = Mapping[str, Any]


def contestants_tables(contestants: Mapping[str, Figures], *, width: int = 80) -> list[Table]:
    """Each grader's value with its 95 % interval for each contestant, slices below, in tables of at most this width."""
    shown = next(iter(contestants.values()))
    graders = [key for key, value in shown.items() if is_measured(value)]
    across = _across(contestants, graders)
    if len(contestants) <= 3 or _width(across) <= width:
        return [across]
    names = max(map(len, [*contestants, *(f"  {group}" for group in shown.get("slices") or {})]))
    room = max(1, (width - names) // (FIGURE_WIDTH + 2))
    tables = [_down(contestants, graders[at : at + room]) for at in range(0, len(graders), room)]
    return [*tables, _costs(contestants)] if any("seconds" in figures for figures in contestants.values()) else tables


def is_measured(value: Any) -> bool:
    """Whether something is a figure with an interval."""
    return isinstance(value, dict) and {"value", "low", "high", "n"} <= value.keys()


def _across(contestants: Mapping[str, Figures], graders: Sequence[str]) -> Table:
    """A column for each contestant."""
    table = _table("grader", contestants)
    shown = next(iter(contestants.values()))
    for grader in graders:
        best = _best(contestants, grader)
        cells = [_value(figures.get(grader), best) for figures in contestants.values()]
        table.add_row(f"{grader} (n {shown[grader]['n']})", *cells)
        for head in _heads(contestants, [grader]):
            cells = [_of_several(figures, grader, head) for figures in contestants.values()]
            table.add_row(Text(f"  {head}", style="dim"), *cells)
        for group in shown.get("slices") or {}:
            cells = [_of_slice(figures, group, grader) for figures in contestants.values()]
            own = shown["slices"][group].get(grader)
            if is_measured(own):
                table.add_row(Text(f"  {group} (n {own['n']})", style="dim"), *cells)
    for name, words in COSTS.items():
        told = [words(figures) for figures in contestants.values()]
        if all(told) if name == "time" else any(told):
            table.add_row(name, *[one or "-" for one in told], style="dim")
    return table


def _down(contestants: Mapping[str, Figures], graders: Sequence[str]) -> Table:
    """A row for each contestant."""
    shown = next(iter(contestants.values()))
    table = _table("contestant", [f"{grader} (n {shown[grader]['n']})" for grader in graders])
    best = {grader: _best(contestants, grader) for grader in graders}
    for name, figures in contestants.items():
        table.add_row(name, *[_value(figures.get(grader), best[grader]) for grader in graders])
        for head in _heads({name: figures}, graders):
            table.add_row(Text(f"  {head}", style="dim"), *[_of_several(figures, grader, head) for grader in graders])
        for group in figures.get("slices") or {}:
            table.add_row(Text(f"  {group}", style="dim"), *[_of_slice(figures, group, grader) for grader in graders])
    return table


def _costs(contestants: Mapping[str, Figures]) -> Table:
    """What each contestant took."""
    told = {name: [words(figures) for figures in contestants.values()] for name, words in COSTS.items()}
    known = {name: cells for name, cells in told.items() if any(cells)}
    table = _table("contestant", known)
    for place, name in enumerate(contestants):
        table.add_row(name, *[cells[place] or "-" for cells in known.values()], style="dim")
    return table


def _table(first: str, columns: Sequence[str] | Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _width(table: Table) -> int:
    from rich.console import Console

    return table.__rich_measure__(Console(width=10_000), Console(width=10_000).options).maximum


def _best(contestants: Mapping[str, Figures], grader: str) -> float:
    return max((figures[grader]["value"] for figures in contestants.values() if grader in figures), default=0.0)


def _heads(contestants: Mapping[str, Figures], graders: Sequence[str]) -> list[str]:
    """What is told where rows have several answers: pass@k and the like."""
    several = [
        (figures.get("repeated") or {}).get(grader, {}) for figures in contestants.values() for grader in graders
    ]
    return list(dict.fromkeys(head for one in several for head in one if head != repeated.ONCE))


def _of_several(figures: Figures, grader: str, head: str) -> Text:
    return _value((figures.get("repeated") or {}).get(grader, {}).get(head), None)


def _of_slice(figures: Figures, group: str, grader: str) -> Text:
    return _value(((figures.get("slices") or {}).get(group) or {}).get(grader), None)


def _value(cell: Mapping[str, Any] | None, best: float | None) -> Text:
    if cell is None:
        return Text("-")
    style = "bold" if best is not None and cell["value"] >= best else ("" if best is not None else "dim")
    return Text.assemble((f"{cell['value']:.3f}", style), (f" {cell['low']:.3f}-{cell['high']:.3f}", "dim"))


def _seconds(figures: Figures) -> str:
    return duration(figures["seconds"]) if figures.get("seconds") is not None else ""


def _latency(figures: Figures) -> str:
    return f"{figures['latency_p95']:.2g} s" if figures.get("latency_p95") is not None else ""


def _cost(figures: Figures) -> str:
    return f"{figures['cost_per_1000']:.2g}" if figures.get("cost_per_1000") is not None else ""


COSTS = {"time": _seconds, "95 of 100 within": _latency, "cost of 1,000": _cost}
