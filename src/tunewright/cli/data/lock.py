"""Encrypt a run at rest, or change its key."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    run: options.RunName,
    key: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="An age key file, or env:NAME. Make one: tunewright data key FILE"),
    ] = None,
    passphrase: Annotated[
        str | None, typer.Option(metavar="FILE", help="Instead: a file that holds a passphrase, env:NAME, or ask.")
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data lock desk --key ~/keys/desk.key

    Encrypts the rows, answers, reports, checkpoints and releases of a run, file by file. Interrupted, the same command
    finishes. With a run that is private already, it changes the key and encrypts what was put there by hand.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import vaults

    with carrying.quiet(as_json), Progress() as progress:
        report = vaults.lock(run, key=key, passphrase=passphrase, runs=runs, listeners=[progress])
    carrying.finish(report, as_json=as_json)
