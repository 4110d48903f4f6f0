"""Tune the model, or go on where it was stopped."""

from __future__ import annotations

from tunewright.cli import carrying, options


def train(
    recipes: options.RecipePaths,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright train recipe.yaml --set train.epochs=2

    Runs the stages before it where they are not done, then trains with checkpoints. Ctrl-C saves and stops; the same
    command goes on from there, bit for bit. Several recipes are trained one after the other in one process, each as if
    alone; adapters on one base share it in memory.
    """
    if len(recipes) > 1:
        carrying.carry_many(recipes, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
    carrying.carry("train", recipes[0], changes=changes, runs=runs, fresh=fresh, as_json=as_json)
