"""Write a commented starter recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def init(
    path: Annotated[Path, typer.Argument(help="The recipe to write, or a folder for it.", show_default=True)] = Path(
        "recipe.yaml"
    ),
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME", help="Which starter; see --list.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Your examples: their format is detected and filled in."),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the starters and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright init --data tickets.jsonl

    Writes a short recipe to start from, with a comment at each choice. With --data the format of your file is detected,
    and the starter that fits it is taken. A file that is there is never overwritten.
    """
    from tunewright.stages import starting

    if list_them:
        report = starting.listing()
        if not as_json:
            from tunewright.cli import printing

            printing.print_starters(report.numbers)
            report = report.model_copy(update={"numbers": {}})
    else:
        with carrying.quiet(as_json):
            report = starting.init(path, template=template, data=data)
    carrying.finish(report, as_json=as_json)
