"""Compare runs or releases on the same test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import options


def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Runs by name or folder, or releases such as desk:001.")
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="Also write the comparison as a page.")
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright compare desk-a desk-b --html compared.html

    Grades the answers that each run keeps again, by every grader that all recipes have, on the test rows that all have
    (no model is asked), and tests each pair. Guards, costs and what differs in the recipes stand side by side.
    """
    from tunewright.stages import compare as comparison

    report = comparison.compare(*names, runs=runs, html=html)
    if as_json:
        print(report.model_dump_json(indent=2))
        return
    from tunewright.cli import printing_compared

    printing_compared.print_comparison(report, html=html)
