"""YAML as recipes are read: `on` and `off` are words, as in YAML 1.2, so that an option may be called so."""

from __future__ import annotations

from typing import Any

import yaml


class _Reader(yaml.SafeLoader):
    """The safe reader, for which only true, false, yes and no are truth values."""


_Reader.yaml_implicit_resolvers = {
    sign: kept
    for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [one for one in resolvers if not (sign in "oO" and one[0] == "tag:yaml.org,2002:bool")])
}


def read(text: str) -> Any:
    """Plain values of a YAML (or JSON) text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Reader)
