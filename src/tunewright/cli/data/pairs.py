"""Write rows beside themselves with the people swapped, to measure whether answers change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    source: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run, a version's first digits, or a file.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the pairs go, as JSON lines.")],
    group: Annotated[
        str, typer.Option("--group", help="gender, ethnicity, nationality, religion, age or disability.")
    ] = "gender",
    side: Annotated[str, typer.Option("--side", help="train, validation, test or all, of a run.")] = "test",
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data pairs tickets --group gender --out pairs.jsonl

    Each line holds a row's prompt, the same about others ("she told him" for "he told her"), and the id of a row that
    asks just this, where there is one. Answer both with a release: answers that change hang on who is spoken of.
    """
    from tunewright.stages import counterfactual

    with carrying.quiet(as_json):
        report = counterfactual.pairs(source, out, group=group, side=side, runs=runs)
    carrying.finish(report, as_json=as_json)
