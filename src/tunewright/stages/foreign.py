"""A config of another tool on its way to a recipe: each of its keys is carried over, or left with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunewright.core.errors import RecipeError

Severity = Literal["info", "warning", "problem"]


@dataclass(frozen=True)
class Left:
    """A key that no recipe has a place for: why, or what to use instead."""

    why: str
    severity: Severity = "info"


@dataclass
class Foreign:
    """What a config says, and the recipe that comes of it.

    usual: keys of the recipe (dotted) that the config leaves open and its tool fills otherwise than we would, each with
    whose default it is. command: the word behind the tool's name where the config came from a command line.
    """

    tool: str
    config: dict[str, Any]
    path: Path
    command: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    carried: dict[str, str] = field(default_factory=dict)
    left: dict[str, Left] = field(default_factory=dict)
    usual: dict[str, str] = field(default_factory=dict)

    def take(self, key: str, to: str, default: Any = None) -> Any:
        """The value of a key that is carried over to a key of the recipe; the default where it is not given."""
        value = self.config.get(key)
        if key in self.config:
            self.carried[key] = to
        return default if value is None else value

    def put(self, to: str, value: Any) -> None:
        """Set a (dotted) key of the recipe; below a part given by name, its options."""
        block = self.values
        *path, last = to.split(".")
        for step in path:
            inner = block.get(step, {})
            block[step] = inner = {"kind": inner} if isinstance(inner, str) else inner
            block = inner
        block[last] = value

    def carry(self, key: str, to: str, convert: Callable[[Any, str], Any], usual: Any = None) -> bool:
        """Put a key's value, or what the tool takes where it is left out. Returns whether it was given."""
        value = self.take(key, to)
        if value is not None:
            self.put(to, convert(value, key))
            return True
        if usual is not None:
            self.put(to, usual)
            self.usual[to] = f"{self.tool}'s default"
        return False

    def leave(self, key: str, why: str, severity: Severity = "info") -> None:
        """Say why a key is not carried over, where it is given."""
        if self.config.get(key) is not None or (key in self.config and key not in self.carried):
            self.carried.pop(key, None)
            self.left[key] = Left(why, severity)

    def settle(self, name: str, format: str, fields: dict[str, str], *, others: str) -> None:
        """Format and fields hold for all files of a recipe: several data sets must agree, or are found by columns.

        name: of this data set. others: what the ones before it are called.
        """
        data = self.values["data"]
        if "format" not in data:
            data["format"] = format
            if fields:
                data["fields"] = fields
            return
        if data["format"] != format:
            data["format"] = "auto"
        if data.get("fields", {}) != fields:
            why = f"its columns {fields} differ from those of {others}: rename them in the file, or train in phases"
            self.left[f"{name}: columns"] = Left(why, "problem")

    def leave_rest(self, reasons: list[tuple[str, str]]) -> None:
        """Give every key that nobody took a reason: of the first pattern that matches the whole key, if any."""
        for key in self.config:
            if key in self.carried or key in self.left:
                continue
            why = next((why for pattern, why in reasons if re.fullmatch(pattern, key)), None)
            if self.config[key] is None or self.config[key] == "":
                self.left[key] = Left("it is empty")
            elif why is not None:
                self.left[key] = Left(why)
            else:
                self.left[key] = Left("a recipe has nothing like it; docs/recipe.md lists every key", "warning")


def number(value: Any, key: str) -> float | int:
    """A number, also one that YAML reads as text (1e-4). Raises RecipeError."""
    if isinstance(value, bool):
        raise RecipeError(f"{key}: a number is needed, found {value}.")
    if isinstance(value, int | float):
        return value
    try:
        found = float(str(value))
    except ValueError:
        raise RecipeError(f"{key}: a number is needed, found {str(value)[:40]!r}.") from None
    return int(found) if found.is_integer() and not re.search(r"[.e]", str(value), re.IGNORECASE) else found


def whole(value: Any, key: str) -> int:
    """A whole number. Raises RecipeError."""
    found = number(value, key)
    if found != int(found):
        raise RecipeError(f"{key}: a whole number is needed, found {found}.")
    return int(found)


def switch(value: Any) -> bool:
    """Whether a key is on; words of command lines are understood."""
    return value is True or str(value).lower() in ("true", "1", "yes", "on")


def names(value: Any) -> list[str]:
    """A list of names, also one written with commas."""
    found = value if isinstance(value, list) else str(value).split(",")
    return [str(one).strip() for one in found if str(one).strip()]


def run_name(folder: Any) -> str:
    """A run's name from an output folder: its last parts, without those that say nothing."""
    parts = [
        part for part in re.split(r"[/\\]+", str(folder)) if part not in ("", ".", "..", "saves", "outputs", "output")
    ]
    return re.sub(r"[^a-z0-9._-]+", "-", "-".join(parts[-3:]).lower()).strip("-._")[:64].strip("-._")


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections within sections as keys with dots."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


# --- where files are ---


def locate(name: str, path: Path) -> Path | None:
    """A file or folder that a config names: from the current folder, else from the config's or one above it."""
    given = Path(name).expanduser()
    for folder in (Path.cwd(), *list(path.resolve().parents)[:4]):
        if (folder / given).exists():
            return (folder / given).resolve()
    return None


def source(name: str, path: Path, *, split: str | None = None, revision: str | None = None) -> str:
    """Rows that a config names, as `data.sources` takes them: a file or folder where there is one, else a Hub name."""
    if (found := locate(name, path)) is not None:
        return str(found)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not re.search(r"\.(jsonl?|csv|tsv|parquet|txt)$", name):
        return f"hub:{name}" + (f"@{revision}" if revision else "") + (f":{split}" if split else "")
    return str((Path.cwd() / Path(name).expanduser()).resolve())


def base(foreign: Foreign, key: str) -> None:
    """The model to start from."""
    name = foreign.take(key, "model.base")
    if name is None:
        raise RecipeError(f"{foreign.path}: the config names no model ({key}). Add it, then convert again.")
    found = locate(str(name), foreign.path)
    foreign.put("model.base", str(found) if found is not None and found.is_dir() else str(name))
