"""Tune the model, or go on where it was stopped."""

from __future__ import annotations

from tunewright.cli import carrying, options


def train(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright train recipe.yaml --set train.epochs=2

    Runs the stages before it where they are not done, then trains with checkpoints. Ctrl-C saves and stops; the same
    command goes on from there, bit for bit.
    """
    carrying.carry("train", recipe, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
