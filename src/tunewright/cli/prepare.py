"""Read, clean, check and split the data."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def prepare(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix", metavar="NAME", help="Mend a finding, by name; 'safe': all that lose nothing. Repeatable."
        ),
    ] = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright prepare recipe.yaml

    Reads the sources, quarantines unreadable rows with their reasons, finds duplicates and contradictions, and writes
    train, validation and test rows into the run's data/ folder. Findings tell what is wrong; those with a fix are
    mended with --fix NAME (or data.fix in the recipe).
    """
    changes = [*(changes or []), *([f"data.fix={json.dumps(fix)}"] if fix else [])]
    carrying.carry("prepare", recipe, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
