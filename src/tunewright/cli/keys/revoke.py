"""Revoke a key: from then on it opens nothing."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunewright.cli import options


def command(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` tells it (not the key).")],
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright keys revoke key_4fQ2...

    A server that runs refuses the key within a second. There is no way back: make a new one.
    """
    from tunewright.core.errors import NotThere
    from tunewright.server.wire.keys import shown
    from tunewright.workspace import keys
    from tunewright.workspace.place import Workspace

    with Workspace.open(workspace).database.writing() as session:
        row = keys.revoke(session, key_id)
    if row is None:
        raise NotThere(f"There is no key '{key_id[:80]}'. See the ids with: tunewright keys list")
    print(json.dumps(shown(row), indent=2) if as_json else f"{row.id} ({row.name}) is revoked.")
