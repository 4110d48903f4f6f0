"""Releases by the names under which their answers are logged: `run:001`, or the name of a tuned model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tunewright.core import storage
from tunewright.core.errors import NotThere
from tunewright.core.releases import find_release
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Model


@dataclass(frozen=True)
class Logged:
    """A release: where it lies, and the names that its answers are logged under."""

    folder: Path
    names: tuple[str, ...]

    @property
    def run(self) -> Path:
        """The folder of its run."""
        return self.folder.parent.parent

    @property
    def name(self) -> str:
        """As run:001."""
        return f"{self.run.name}:{self.folder.name}"

    def decode(self) -> dict[str, Any]:
        """How it answers, as its manifest says."""
        return dict(storage.read_json(self.folder / "manifest.json")["decode"])


def find(place: Workspace, name: str) -> Logged:
    """A release by the name of a tuned model, as `run` (its newest) or as `run:001`. Raises NotThere."""
    with place.database.reading() as session:
        models = {model.name: place.runs / model.folder for model in session.scalars(select(Model))}
    folder = (models[name] if name in models else find_release(name, runs=place.runs)).resolve()
    if not (folder / "manifest.json").exists():
        raise NotThere(f"The release of '{name}' is not in {folder} any more. Bring its folder back.")
    named = [model for model, at in models.items() if at.resolve() == folder]
    return Logged(folder, (f"{folder.parent.parent.name}:{folder.name}", *named))


def labels_of(place: Workspace, name: str) -> list[str]:
    """The labels that a release chooses from; none where it does not, or is not there any more."""
    try:
        return list(find(place, name).decode().get("labels", []))
    except (NotThere, OSError, ValueError, KeyError):
        return []
