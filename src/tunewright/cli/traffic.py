"""Look at what a workspace logged of its releases' answers; export or delete it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def traffic(
    release: Annotated[
        str | None,
        typer.Argument(metavar="[RELEASE]", help="A run, a release such as desk:001, or a tuned model; else all."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="Show the newest N answers.")] = 0,
    texts: Annotated[bool, typer.Option("--texts", help="With what was asked and said; needs the key.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write all to a new .jsonl file.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--forget", metavar="ID", help="Delete this answer for good. Repeatable.")
    ] = None,
    users: Annotated[
        list[str] | None,
        typer.Option("--forget-user", metavar="NAME", help="Delete all answers of this user. Repeatable."),
    ] = None,
    workspace: options.Workspace = options.HERE,
    as_json: options.AsJson = False,
) -> None:
    """tunewright traffic desk:001 --rows 5

    Tells of each release how much was logged and what users said of it. Figures need no key; --texts does. A user is
    whom clients named as `user`, `safety_identifier` or `metadata.user`; what is deleted goes with its feedback and is
    overwritten in the database.
    """
    from tunewright.core.errors import DataError
    from tunewright.stages import logged

    if ids or users:
        if release or rows or texts or out:
            raise DataError("--forget and --forget-user delete, and show nothing. Leave the rest out.")
        report = logged.forget(ids=ids or [], users=users or [], workspace=workspace)
    else:
        report = logged.logged(release, workspace=workspace, rows=rows, texts=texts, out=out)
    carrying.finish(report, as_json=as_json)
