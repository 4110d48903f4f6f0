"""Make a key file that opens private runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key file to write; it must not be there yet.")],
    as_json: options.AsJson = False,
) -> None:
    """tunewright data key ~/keys/desk.key

    Writes an age key (X25519) that only you can read. A recipe names it as privacy.vault.key. Keep a copy elsewhere:
    without it nobody opens what is locked with it.
    """
    from tunewright.stages import vaults

    carrying.finish(vaults.new_key(file), as_json=as_json)
