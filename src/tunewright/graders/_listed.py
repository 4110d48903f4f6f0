"""Answers that list several things: as JSON, or parted by a separator."""

from __future__ import annotations

import json


def listed(text: str, separator: str) -> list[str]:
    """The entries of a JSON list, or those between separators; empty ones fall away."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list):
        found = text.split(separator)
    return [said for entry in found if (said := str(entry).strip())]
