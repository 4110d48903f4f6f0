"""Let people rate answers blindly, and tell what they say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def rate(
    run: options.RunName,
    pairs: Annotated[
        list[str] | None,
        typer.Option("--pairs", metavar="A:B", help="Two contestants to compare, e.g. tuned:base. Repeatable."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many test rows of each pair.")] = 100,
    discordant: Annotated[
        bool, typer.Option("--discordant", help="Rows graded differently first, three of them for one of the others.")
    ] = False,
    gate: Annotated[bool, typer.Option("--gate", help="Rate the cases of evaluate.gate instead.")] = False,
    rater: Annotated[
        str | None, typer.Option("--rater", metavar="NAME", help="Who rates; else the page asks each for a name.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    results: Annotated[bool, typer.Option("--results", help="Tell what was rated so far, and stop.")] = False,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright rate desk

    Opens a page on this machine on which people compare answers without knowing whose they are: sides by chance, ties,
    some items twice. Ratings are kept as they come; Ctrl-C ends, the same command goes on. Then `tunewright evaluate
    desk` judges anew, without asking any model. With --json the address is printed as JSON once the page is there.
    """
    if results:
        from tunewright.core.errors import DataError
        from tunewright.stages import rating

        if pairs or discordant or gate or rater:
            raise DataError(
                "--results tells of all ratings of a run. Leave --pairs, --discordant, --gate and --rater out."
            )
        carrying.finish(rating.ratings(run, runs=runs), as_json=as_json)
    tell = _telling(run, as_json)
    with carrying.quiet(as_json):
        from tunewright.server.rating import rate as serve_page

        report = serve_page(
            run,
            pairs=pairs or [],
            rows=rows,
            order="discordant" if discordant else "random",
            gate=gate,
            rater=rater,
            port=port,
            browser=not no_browser,
            runs=runs,
            listening_at=tell,
        )
    if not as_json:
        carrying.finish(report, as_json=False)


def _telling(run: str, as_json: bool) -> Callable[[str], None]:
    """Tells the address: to a program on standard output, which --json points elsewhere while the server works."""
    from tunewright.core.report import Report

    out = sys.stdout

    def tell(address: str) -> None:
        if as_json:
            print(Report(stage="rate", run=run, numbers={"address": address}).model_dump_json(), file=out, flush=True)
        else:
            print(f"Rate at {address}\nEvery rating is kept as it comes. Ctrl-C ends.", file=sys.stderr, flush=True)

    return tell
