"""Write prepared rows in the shapes that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import options


def command(
    source: Annotated[str, typer.Argument(metavar="RUN|VERSION", help="A run, or a version's first digits.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR|FILE", help="A folder for all sides, or a file for one.")],
    format: Annotated[
        str, typer.Option("--format", help="openai, sharegpt, alpaca, trl, csv, parquet or jsonl.")
    ] = "jsonl",
    side: Annotated[str | None, typer.Option("--side", help="Only train, validation or test.")] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data export tickets --to shared --format openai

    Nothing is overwritten. What the format cannot carry is said. Cells of a CSV that a spreadsheet would compute (those
    that begin with = + - @) get an apostrophe, which tunewright takes off when it reads the file.
    """
    from tunewright.stages import exporting

    report = exporting.export(source, to=to, format=format, side=side, runs=runs)
    if as_json:
        print(report.model_dump_json(indent=2))
        return
    from tunewright.cli import data_printing

    data_printing.print_exported(report)
