"""Write a release, when the verdict allows it."""

from __future__ import annotations

from tunewright.cli import carrying, options


def deploy(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    override: options.Override = None,
    as_json: options.AsJson = False,
) -> None:
    """tunewright deploy recipe.yaml

    Writes the tuned model into the run's releases/ folder with a manifest and a card. Refused when the verdict is
    NO-GO (exit code 3) or NEED MORE (4), unless --override gives a reason, which is recorded.
    """
    carrying.carry("deploy", recipe, changes=changes, runs=runs, fresh=fresh, override=override, as_json=as_json)
