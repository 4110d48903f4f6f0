"""Show what a run holds, or its rows as the model sees them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def show(
    source: Annotated[str, typer.Argument(metavar="RUN|RECIPE", help="A run by name or folder, or its recipe.")],
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", min=1, help="Show N rows, learned tokens in green.")
    ] = None,
    verdict: Annotated[
        bool, typer.Option("--verdict", help="The evaluation's report alone; ends with the verdict's exit code.")
    ] = False,
    split: Annotated[str, typer.Option("--split", help="Whose rows: train, validation or test.")] = "train",
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright show desk --rows 3

    Without --rows: state, stages, verdict and releases. With --rows: rows token by token as training sees them; what is
    learned is green and set in [[ ]], what is only context is dim. A recipe need not have been prepared for that. With
    --verdict: what evaluation measured, and exit code 0 (GO), 3 (NO-GO) or 4 (NEED MORE), for programs.
    """
    from tunewright.core.report import Report
    from tunewright.stages import showing

    if verdict:
        run = showing.find(source, runs=runs)
        carrying.finish(showing.judged(run), as_json=as_json, folder=run.folder)
    if rows is None:
        report = showing.overview(source, runs=runs)
        folder = showing.find(source, runs=runs).folder
        if as_json:
            print(report.model_dump_json(indent=2))
            return  # looking at a NO-GO is no failure
        from tunewright.cli import printing

        printing.print_overview(report, folder=folder)
        return
    with carrying.quiet(as_json):
        shown = showing.rows(source, num=rows, split=split, runs=runs)
    if as_json:
        counted = [asdict(row) | {"tokens": row.num_tokens, "learned": row.num_learned} for row in shown]
        carrying.finish(Report(stage="show", run=str(source), numbers={"rows": counted}), as_json=True)
    from tunewright.cli import printing

    printing.print_rows(shown)
