"""Send all requests of an alias to one model."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import options, printing_aliases


def command(
    name: options.AliasName,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A release, a tuned model or a base.")],
    why: options.Why = "",
    project: options.Project = "default",
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright alias promote live desk:002 --why "better on refunds"

    `tunewright alias rollback live` takes it back.
    """
    from tunewright.workspace.alias_changes import Aliases

    printing_aliases.tell(Aliases(workspace, project=project).promote(name, model, why=why), as_json=as_json)
