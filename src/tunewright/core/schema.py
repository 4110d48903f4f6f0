"""The JSON schema of a recipe, for editors: parts are listed with their options."""

from __future__ import annotations

from typing import Any

from tunewright.core import catalog
from tunewright.core.recipe import Recipe


def schema() -> dict[str, Any]:
    """The schema, as plain values."""
    base = Recipe.model_json_schema(by_alias=True)
    families = {"method": "methods", "objective": "objectives"}
    for key, family in families.items():
        base["properties"][key] = _part_schema(family)
    base["properties"]["retention"] = {
        "anyOf": [_part_schema("retention"), {"type": "array", "items": _part_schema("retention")}]
    }
    base["properties"]["phases"]["items"] = {"type": "object", "required": ["name"]}
    definitions = base["$defs"]
    for block, key, family in (
        ("DataOptions", "checks", "detectors"),
        ("Augment", "edits", "edits"),
        ("EvaluateOptions", "graders", "graders"),
        ("EvaluateOptions", "against", "contestants"),
        ("EvaluateOptions", "guards", "guards"),
        ("DeployOptions", "formats", "exporters"),
        ("MonitorOptions", "monitors", "monitors"),
    ):
        definitions[block]["properties"][key] = {"type": "array", "items": _part_schema(family)}
    base["properties"]["model"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/ModelOptions"}]}
    _hoist(base, definitions)
    base["title"] = "tunewright recipe"
    base["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return base


def _part_schema(family: str) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [{"enum": catalog.kinds(family)}]
    for kind in catalog.kinds(family):
        options = catalog.part_class(family, kind).model_json_schema()
        options["properties"] = {"kind": {"const": kind}} | options.get("properties", {})
        options["required"] = ["kind", *options.get("required", [])]
        choices.append(options)
    return {"anyOf": choices}


def _hoist(value: Any, definitions: dict[str, Any]) -> None:
    """Move definitions of parts to the top, where references look for them."""
    if isinstance(value, list):
        for one in value:
            _hoist(one, definitions)
    elif isinstance(value, dict):
        for name, one in (value.pop("$defs", {}) if value.get("$defs") is not definitions else {}).items():
            definitions.setdefault(name, one)
        for one in list(value.values()):
            _hoist(one, definitions)
