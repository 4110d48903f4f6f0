"""Measure the tuned model against its contestants."""

from __future__ import annotations

from tunewright.cli import carrying, options


def evaluate(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright evaluate recipe.yaml

    Asks the tuned model and each contestant the same test questions, grades the answers and gives a verdict: GO,
    NO-GO (exit code 3) or NEED MORE (exit code 4).
    """
    carrying.carry("evaluate", recipe, changes=changes, runs=runs, fresh=fresh, as_json=as_json)
