"""Turn corrections and doubtful answers of a release into rows for the next recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunewright.cli import carrying, options

if TYPE_CHECKING:
    from tunewright.stages.harvesting import Harvest

CHOICES = "[a] the answer is right  [c] correct it  [s] skip  [q] stop here"


def harvest(
    release: Annotated[
        str, typer.Argument(metavar="RELEASE", help="A run (its newest release), desk:001, or a tuned model's name.")
    ],
    review: Annotated[bool, typer.Option("--review", help="Walk through what waits, here in the terminal.")] = False,
    reviewed: Annotated[
        Path | None, typer.Option("--reviewed", metavar="FILE", help="A copy of the queue with decisions filled in.")
    ] = None,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0, max=1, help="Answers less sure than this are worth a look.")
    ] = 0.5,
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=0, help="At most so many wait that nobody spoke of.")
    ] = 200,
    days: Annotated[
        float | None, typer.Option("--days", metavar="N", min=0, help="Traffic of the last N days only.")
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option("--traffic", metavar="FILE", help="Logged requests as JSON lines; else what the server logged."),
    ] = None,
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright harvest desk:001 --review

    Corrections by users are rows at once. Thumbs down, answers that stood out in monitoring, and
    unsure ones wait for a reviewer: here with --review, or in a copy of the queue whose `decision` (accept, correct,
    skip) and `correction` are filled in. Every decision is kept as it is made. Rows near to test rows are left out and
    told. Where the release answers elsewhere, --traffic FILE takes the place of the workspace's traffic.
    The next recipe reads the rows as data.more (or data.sources): [traffic:desk:001]
    """
    from tunewright.core.errors import DataError
    from tunewright.stages import harvesting

    if review and (reviewed or as_json):
        raise DataError("--review asks here in the terminal. Leave --reviewed and --json out.")
    if not review:
        report = harvesting.harvest(
            release,
            workspace=workspace,
            confidence=confidence,
            most=most,
            days=days,
            reviewed=reviewed,
            traffic=traffic,
        )
        carrying.finish(report, as_json=as_json)
    found = harvesting.begin(release, workspace=workspace, confidence=confidence, most=most, days=days, traffic=traffic)
    _walk(found)
    carrying.finish(harvesting.settle(found), as_json=False)


def _walk(found: Harvest) -> None:
    """Ask about each that waits, until all are decided or the reviewer stops."""
    from tunewright.cli import printing_traffic

    waiting = found.waiting
    for number, one in enumerate(waiting, 1):
        print(f"\n{number} of {len(waiting)}  ", end="")
        print("\n".join(printing_traffic.candidate_lines(one)))
        word = _asked()
        right = _line("what is right: ") if word == "c" else None
        if word == "q" or (word == "c" and right is None):
            return
        if word == "c" and right:
            found.decide(one.id, "correct", right)
        elif word in "as":
            found.decide(one.id, "accept" if word == "a" else "skip")


def _asked() -> str:
    """One of the letters; the end of the input is a stop."""
    while True:
        word = _line(f"{CHOICES}: ")
        if word is None:
            return "q"
        if word[:1].lower() in {*"acsq"}:
            return word[0].lower()


def _line(prompt: str) -> str | None:
    try:
        return input(prompt).strip()
    except EOFError:
        return None
