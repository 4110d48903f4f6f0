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
    config: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A config of LLaMA-Factory, Axolotl, TRL, torchtune or Soup, to be converted.",
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the starters and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright init --data tickets.jsonl

    Writes a short recipe to start from, with a comment at each choice. With --data the format of your file is detected,
    and the starter that fits it is taken. A file that is there is never overwritten. With --from the
    recipe is made of another tool's config (a YAML, or a script with its command line); every key that is not carried
    over is told with its reason.
    """
    from tunewright.stages import starting

    if list_them:
        report = starting.listing()
        if not as_json:
            from tunewright.cli import printing

            printing.print_starters(report.numbers)
            report = report.model_copy(update={"numbers": {}})
    elif config is not None:
        from tunewright.core.errors import RecipeError
        from tunewright.stages import converting

        if template is not None or data is not None:
            raise RecipeError("--from makes the whole recipe of a config. Leave --template and --data out.")
        with carrying.quiet(as_json):
            report = converting.convert(config, path)
    else:
        with carrying.quiet(as_json):
            report = starting.init(path, template=template, data=data)
    carrying.finish(report, as_json=as_json)
