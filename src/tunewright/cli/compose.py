"""Make one adapter of several over the same base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def compose(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must not be there yet.")],
    sources: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="FOLDER[:WEIGHT]",
            help="An adapter's or a release's folder, and its weight (1). Repeatable.",
        ),
    ],
    how: Annotated[str, typer.Option(help="average, task_arithmetic, ties or stack.")] = "task_arithmetic",
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank of the result; as many as needed when left out.")
    ] = None,
    density: Annotated[float, typer.Option(help="ties: the share of each adapter's entries that is kept.")] = 0.2,
    as_json: options.AsJson = False,
) -> None:
    """tunewright compose both --from runs/desk/releases/001:0.7 --from runs/tone/releases/001:0.3

    Writes a LoRA adapter in PEFT's layout that does what several do together. Go on from it with model: {from: both}.
    """
    from tunewright.models.compose import compose as composed

    with carrying.quiet(as_json):
        report = composed(out, sources, how=how, rank=rank, density=density)  # type: ignore[arg-type]
    carrying.finish(report, as_json=as_json)
