"""Carry a recipe through all stages, from prepare to deploy."""

from __future__ import annotations

from tunewright.cli import carrying, options


def run(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    override: options.Override = None,
    as_json: options.AsJson = False,
) -> None:
    """tunewright run recipe.yaml

    Stages that are done are kept; an interrupted one goes on. Ends with the verdict, the page report.html and the next
    command. A NO-GO (exit code 3) or NEED MORE (exit code 4) ends without a release.
    """
    carrying.carry("run", recipe, changes=changes, runs=runs, fresh=fresh, override=override, as_json=as_json)
