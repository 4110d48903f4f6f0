"""What monitors found, as a person likes to read it in a terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text


def monitors_table(monitors: dict[str, Any]) -> Table:
    """Every figure with its interval, what it is read beside, and its p after Holm's correction."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("figure", overflow="fold", ratio=1)
    for title in ("value (95 % interval)", "beside", "p"):
        table.add_column(title, no_wrap=True, justify="right")
    for name, found in monitors.items():
        if found["figures"]:
            table.add_row("", Text(name, style="bold"))
        for one in found["figures"]:
            mark = Text("ALARM", style="bold red") if one["alarm"] else ""
            table.add_row(mark, f"  {one['name']}", _value(one), _beside(one), _p(one["adjusted"]))
    return table


def _value(one: dict[str, Any]) -> str:
    known = one["low"] is not None and one["high"] is not None
    return f"{one['value']:.3g}" + (f" ({one['low']:.3g} to {one['high']:.3g})" if known else "")


def _beside(one: dict[str, Any]) -> str:
    """A bound, what chance stays below in 95 of 100 windows, or the same figure of the reference."""
    for key, sign in (("bound", "<= "), ("usual", "chance < "), ("reference", "was ")):
        if one[key] is not None:
            return f"{sign}{one[key]:.2g}"
    return ""


def _p(adjusted: float | None) -> str:
    if adjusted is None:
        return ""
    return "< 0.0001" if adjusted < 0.0001 else f"{adjusted:.4f}"
