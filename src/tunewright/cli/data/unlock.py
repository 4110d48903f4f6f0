"""Decrypt a private run for good."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    run: options.RunName,
    key: Annotated[
        str | None, typer.Option(metavar="FILE", help="The key file or env:NAME, if it is not where it was.")
    ] = None,
    passphrase: Annotated[
        str | None, typer.Option(metavar="FILE", help="Likewise: a file that holds the passphrase, env:NAME, or ask.")
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data unlock desk

    Decrypts every file of a private run, or of a release that was copied out of one. Interrupted, the same command
    finishes. To read a private run without decrypting it, use the other commands as ever.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import vaults

    with carrying.quiet(as_json), Progress() as progress:
        report = vaults.unlock(run, key=key, passphrase=passphrase, runs=runs, listeners=[progress])
    carrying.finish(report, as_json=as_json)
