"""Compare two versions of data row by row."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import options


def command(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A run, a version's first digits, or a file.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Another one.")],
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data diff tickets tickets-2

    Rows added and removed, answers changed, rows reworded under their id, rows moved to another side, and labels whose
    counts differ.
    """
    from tunewright.stages import comparing

    report = comparing.diff(before, after, runs=runs)
    if as_json:
        print(report.model_dump_json(indent=2))
        return
    from tunewright.cli import data_printing

    data_printing.print_difference(report)
