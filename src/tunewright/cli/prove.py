"""Measure the proofs of a run again."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def prove(
    run: options.RunName,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this proof. Repeatable.")
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright prove desk --only merge

    Measures claims about your own model and data (each with its bound) and prints them. A broken one ends with exit
    code 3.
    """
    from tunewright.cli.progress import Progress
    from tunewright.core.run import Run
    from tunewright.stages import flow

    with carrying.quiet(as_json), Progress() as progress:
        progress({"event": "stage_begins", "stage": "prove"})
        report = flow.prove(run, runs=runs, names=only)
    carrying.finish(report, as_json=as_json, folder=Run.open(run, runs=runs).folder)
