"""Read, clean, check and split the data."""

from __future__ import annotations

from tunewright.cli import carrying, options


def prepare(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright prepare recipe.yaml

    Reads the sources, quarantines unreadable rows with their reasons, finds duplicates and contradictions, and writes
    train, validation and test rows into the run's data/ folder.
    """
    carrying.carry("prepare", recipe, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
