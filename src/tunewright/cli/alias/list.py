"""List the aliases, or what one of them was."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import options, printing_aliases


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[ALIAS]", help="Show all it was, newest first.", show_default=False)
    ] = None,
    project: options.Project = "default",
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright alias list live

    Without ALIAS: all that are in force, with where they send requests to.
    """
    from tunewright.workspace.alias_changes import Aliases

    known = Aliases(workspace, project=project)
    printing_aliases.tell(known.history(name) if name else known.every(), as_json=as_json)
