"""Explain one answer, or where a model fails."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run by name or folder.")],
    row: Annotated[str | None, typer.Argument(metavar="[ROW]", help="The id of a row, such as test.jsonl:17.")] = None,
    message: Annotated[
        str | None, typer.Option("--message", metavar="TEXT", help="Explain the answer to this.")
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright explain support-desk test.jsonl:17

    Tells which words of the user's message an answer rests on, how sure the model is, and which training rows are
    nearest. Without a row or a message: where the model fails more than elsewhere, what failing rows have in common,
    and which test labels may be wrong (as evaluated).
    """
    from tunewright.cli import printing_explained
    from tunewright.stages import explaining

    with carrying.quiet(as_json):
        if row is None and message is None:
            report = explaining.failures_of(run, runs=runs)
        else:
            report = explaining.explain(run, row, message=message, runs=runs)
    if as_json:
        carrying.finish(report, as_json=True)
    printing_explained.show(report)
