"""Compare two releases by their live traffic, at every look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def live(
    outcomes: Annotated[Path, typer.Argument(metavar="FILE", help="Outcomes as JSON lines, in the order they came.")],
    between: Annotated[
        tuple[str, str] | None, typer.Option(metavar="OLD NEW", help="Which two releases; in order of appearance.")
    ] = None,
    effect: Annotated[float, typer.Option(help="The difference looked for; the true one is found soonest.")] = 0.05,
    level: Annotated[float, typer.Option(help="The chance of a false alarm, over all looks together.")] = 0.05,
    good: Annotated[float | None, typer.Option(help="With --bad: a share of right outcomes that is good.")] = None,
    bad: Annotated[float | None, typer.Option(help="With --good: a share that is bad.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """tunewright live outcomes.jsonl

    Each line is {"release": "002", "score": 1} or, where both answered the same request, {"a": 0, "b": 1}. Prints the
    difference with an interval and a p that hold however often you look, and a decision: GO (the new one is better),
    NO-GO (worse), NEED MORE.
    """
    from tunewright.stages.live import live as looked

    with carrying.quiet(as_json):
        report = looked(outcomes, between=between, effect=effect, level=level, good=good, bad=bad)
    carrying.finish(report, as_json=as_json)
