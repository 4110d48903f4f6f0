"""Make a key and show it, once."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from tunewright.cli import options


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help="infer, train or admin (all). Repeatable; infer when left out."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="GLOB", help="A model it may ask, e.g. 'ft:nano:*'. Repeatable; all if left out."
        ),
    ] = None,
    project: Annotated[str, typer.Option(help="Whose files, jobs, models and traffic it sees.")] = "default",
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="More are refused with 429.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Of prompts and answers together.")] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="From midnight to midnight UTC.")] = None,
    days: Annotated[float | None, typer.Option(help="Days until it expires; never if left out.")] = None,
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright keys create team-a --scope infer --scope train --tokens-per-day 1000000

    Prints the key, which is kept nowhere else. From the first key on, the server asks every client for one. A server
    that runs knows it at its next request.
    """
    from tunewright.core.spans import DAY_SECONDS
    from tunewright.server.wire.keys import shown
    from tunewright.workspace import keys
    from tunewright.workspace.place import Workspace

    limits = keys.Limits(
        requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, tokens_per_day=tokens_per_day
    )
    with Workspace.open(workspace).database.writing() as session:
        made = keys.create(
            session,
            name=name,
            project=project,
            scopes=scopes or ["infer"],
            models=models or [],
            limits=limits,
            expires=None if days is None else time.time() + days * DAY_SECONDS,
        )
    if as_json:
        print(json.dumps(shown(made.row) | {"key": made.secret}, indent=2))
    else:
        print(made.secret)
        typer.echo(f"This is {made.row.id}, for {name}. Keep the key now: it is not shown again.", err=True)
