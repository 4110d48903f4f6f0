"""Bring back what an alias was before."""

from __future__ import annotations

from tunewright.cli import options, printing_aliases


def command(
    name: options.AliasName,
    why: options.Why = "",
    project: options.Project = "default",
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright alias rollback live --why "more complaints"

    Once more goes back further.
    """
    from tunewright.workspace.alias_changes import Aliases

    printing_aliases.tell(Aliases(workspace, project=project).roll_back(name, why=why), as_json=as_json)
