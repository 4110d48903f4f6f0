"""Take an alias away."""

from __future__ import annotations

from tunewright.cli import options


def command(
    name: options.AliasName,
    why: options.Why = "",
    project: options.Project = "default",
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright alias remove live

    Nobody can ask for it any more. Its history stays.
    """
    import json

    from tunewright.workspace.alias_changes import Aliases

    Aliases(workspace, project=project).remove(name, why=why)
    print(json.dumps({"name": name, "object": "alias", "deleted": True}) if as_json else f"{name} is no alias any more")
