"""Answer every row of a file with a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def answer(
    release: options.ReleaseName,
    source: Annotated[Path, typer.Argument(metavar="IN", help="Rows to answer: JSONL, JSON, CSV, TSV or Parquet.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Where to write them: .jsonl, .csv or .parquet.")],
    column: Annotated[str, typer.Option(help="The column that the answer goes to.")] = "answer",
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright answer desk messages.csv --out answered.csv

    Rows come out in the order they went in, each with its answer. A row that cannot be asked keeps its place, with the
    reason in the column 'problem'. Ctrl-C stops after the rows in work; the same command goes on from there.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import answering

    with carrying.quiet(as_json), Progress() as progress:
        report = answering.answer(release, source, out=out, runs=runs, column=column, listeners=[progress])
    carrying.finish(report, as_json=as_json)
