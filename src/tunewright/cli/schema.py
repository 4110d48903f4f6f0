"""Print the JSON schema of a recipe, for editors."""

from __future__ import annotations

import json

from tunewright.cli import options


def schema(as_json: options.AsJson = False) -> None:
    """tunewright schema > recipe.schema.json

    Every key, every part and its options. In an editor with the YAML language server, begin the recipe with:
    # yaml-language-server: $schema=recipe.schema.json
    The schema is JSON with or without --json.
    """
    from tunewright.core import schema as recipe_schema

    print(json.dumps(recipe_schema.schema(), indent=2))
