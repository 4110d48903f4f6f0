"""List the keys: what each may do, and when it was used."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tunewright.cli import options

if TYPE_CHECKING:
    from tunewright.workspace.tables import Key

COLUMNS = ("ID", "NAME", "PROJECT", "BEGINS", "SCOPES", "MODELS", "REQUESTS", "TOKENS", "USED", "STATE")


def command(
    project: Annotated[str | None, typer.Option(help="Only the keys of this project.")] = None,
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright keys list

    The keys themselves are not known: what is kept are their first characters and their hashes.
    """
    from tunewright.server.wire.keys import shown
    from tunewright.workspace import keys
    from tunewright.workspace.place import Workspace

    with Workspace.open(workspace).database.reading() as session:
        rows = keys.listed(session, project=project)
    if as_json:
        print(json.dumps([shown(row) for row in rows], indent=2))
        return
    if not rows:
        print("No keys. Make one: tunewright keys create NAME")
        return
    table = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cells(row: Key) -> tuple[str, ...]:
    from tunewright.workspace import keys

    requests = f"{row.requests_per_minute:,}/min" if row.requests_per_minute else "-"
    per = ((row.tokens_per_minute, "min"), (row.tokens_per_day, "day"))
    tokens = " ".join(f"{limit:,}/{span}" for limit, span in per if limit) or "-"
    models, scopes = " ".join(row.models) or "all", " ".join(row.scopes)
    state = "good" if keys.usable(row, time.time()) else "revoked" if row.revoked else "expired"
    state += f" until {_day(row.expires)}" if state == "good" and row.expires else ""
    used = _day(row.used) if row.used else "never"
    return (row.id, row.name, row.project, f"{row.shown}...", scopes, models, requests, tokens, used, state)


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
