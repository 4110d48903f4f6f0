"""Write one file of a private run in plain, such as its report page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    run: options.RunName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file inside the run, such as report.html.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write; outside of private folders.")],
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data read desk report.html --out /tmp/desk.html

    Decrypts one file and leaves the run as it is. What is written lies in plain: remove it when it was looked at.
    """
    from tunewright.stages import vaults

    carrying.finish(vaults.read(run, file, out, runs=runs), as_json=as_json)
