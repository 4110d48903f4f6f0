"""A comparison of runs as a person likes to read it in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tunewright.cli import printing
from tunewright.cli.printing_contest import contestants_tables
from tunewright.core.report import Report
from tunewright.stages import wording
from tunewright.stages.compare_page import answer, training_cells

KEY = 26  # columns for the longest usual key of a recipe


def print_comparison(report: Report, *, html: Path | None = None, console: Console | None = None) -> None:
    """Figures, pairs, guards, costs and recipes side by side; then the answer. html: where the page was written."""
    console = console or Console(highlight=False)
    numbers, names = report.numbers, list(report.contestants)
    console.print(printing.beside("rows", _rows(numbers["rows"])))
    printing.print_findings(report.findings, console)
    console.print(*contestants_tables(report.contestants, width=console.width), sep="\n")
    console.print(_pairs(numbers))
    if numbers["guards"]:
        rows = [
            (f"{row['guard']}: {row['measure']}", [_guard(row["runs"].get(name)) for name in names])
            for row in numbers["guards"]
        ]
        console.print(_side_by_side("guard", names, rows))
    console.print(_side_by_side("training", names, training_cells(numbers)))
    if numbers["recipes"]:
        rows = [(row["key"], [wording.option(row["values"][name]) for name in names]) for row in numbers["recipes"]]
        console.print(_side_by_side("recipe", names, rows))
    console.print(Panel(answer(report), box=box.ROUNDED, padding=(0, 1), expand=True))
    if html is not None:
        console.print(Text.assemble(("page      ", "bold"), str(html)), soft_wrap=True)


def _rows(rows: dict[str, Any]) -> str:
    return f"{rows['common']:,} test rows" + (" that all have" if not rows["same"] else ", the same in all")


def _pairs(numbers: dict[str, Any]) -> Table:
    table = _table("pair", "grader")
    for head in ("difference", "better", "worse", "p"):
        table.add_column(head, justify="right")
    for one in numbers["comparisons"]:
        sure = one["p_holm"] <= numbers["level"] and one["difference"]
        table.add_row(
            f"{one['first']} - {one['second']}",
            one["grader"],
            Text.assemble(
                (f"{one['difference']:+.3f}", "bold" if sure else ""), (f" {one['low']:+.3f} {one['high']:+.3f}", "dim")
            ),
            f"{one['wins']:,}",
            f"{one['losses']:,}",
            "< 0.0001" if one["p_holm"] < 0.0001 else f"{one['p_holm']:.4f}",
        )
    return table


def _guard(one: dict[str, Any] | None) -> str:
    if one is None:
        return "-"
    state = "" if one["state"] == "told" else f" {one['state']}"
    return f"{wording.brief(one['value'])}{state}"


def _side_by_side(head: str, names: list[str], rows: list[tuple[str, list[str]]]) -> Table:
    table = _table(head)
    if len(names) == 2:  # where there is room, keys stay in one piece
        table.columns[0].min_width = min(KEY, max(len(key) for key, _ in rows))
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for key, cells in rows:
        table.add_row(key, *cells)
    return table


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
