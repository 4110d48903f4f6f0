"""Find everything wrong with a recipe, and show what it comes to."""

from __future__ import annotations

from tunewright.cli import carrying, options


def check(recipe: options.RecipePath, changes: options.Changes = None, as_json: options.AsJson = False) -> None:
    """tunewright check recipe.yaml

    Tells every problem at once (exit code 2), before any expensive work; else prints the recipe with every default and
    its reason. Values marked null are filled by 'choose', once the data is prepared.
    """
    from tunewright.stages import starting

    report = starting.check(recipe, changes=changes)
    if not as_json:
        from tunewright.cli import printing

        printing.print_yaml(report.numbers["yaml"])
        report = report.model_copy(update={"numbers": {}})
    carrying.finish(report, as_json=as_json)
