"""Print the JSON schema of a recipe, for editors; or of the report that evaluation leaves."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tunewright.cli import options


def schema(
    report: Annotated[
        bool, typer.Option("--report", help="Of evaluate/report.json instead, for programs that read it.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright schema > recipe.schema.json

    Every key, every part and its options. In an editor with the YAML language server, begin the recipe with:
    # yaml-language-server: $schema=recipe.schema.json
    The schema is JSON with or without --json.
    """
    from tunewright.core import judgement
    from tunewright.core import schema as recipe_schema

    print(json.dumps(judgement.schema() if report else recipe_schema.schema(), indent=2))
