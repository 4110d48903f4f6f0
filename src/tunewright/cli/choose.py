"""Fill what the recipe leaves open, with reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def choose(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Measure the learning curve: train on parts of the rows. Takes its time.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright choose recipe.yaml

    Looks at the prepared data, the model and this machine, fills every value you left out, and writes the whole recipe
    with a reason behind each value into the run folder. Prepares the data first where that is not done. With --curve:
    what would twice the data give? Options: --set choose.learning_curve.model=proxy (seconds; labels only), .points,
    .draws, .epochs, .without=FILE (is cleaning worth more than adding?).
    """
    if curve:
        from tunewright.stages import learning_curve

        changes = learning_curve.asking(recipe, changes, runs)
    carrying.carry("choose", recipe, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
