"""Let an alias send shares of its requests to models."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import options, printing_aliases


def command(
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="The name that clients ask for.")],
    shares: Annotated[
        list[str], typer.Argument(metavar="MODEL=SHARE...", help="Models with their shares, which sum to 1.")
    ],
    why: options.Why = "",
    project: options.Project = "default",
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright alias set live desk:001=0.95 desk:002=0.05 --why canary

    Clients ask for 'live', and the answer says which release gave it. The same user stays with the same release. One
    model with a share of 1 is a plain name for it. A server that runs follows within a second.
    """
    from tunewright.workspace.alias_changes import Aliases

    row = Aliases(workspace, project=project).set(name, printing_aliases.shares(shares), why=why)
    printing_aliases.tell(row, as_json=as_json)
