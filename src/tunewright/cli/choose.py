"""Fill what the recipe leaves open, with reasons."""

from __future__ import annotations

from tunewright.cli import carrying, options


def choose(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright choose recipe.yaml

    Looks at the prepared data, the model and this machine, fills every value you left out, and writes the whole recipe
    with a reason behind each value into the run folder. Prepares the data first where that is not done.
    """
    carrying.carry("choose", recipe, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
