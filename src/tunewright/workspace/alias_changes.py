"""Aliases: those of one project of a workspace, read and changed. What the API, the command line and Python share."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tunewright.workspace import aliases
from tunewright.workspace.names import Names
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import DEFAULT_PROJECT, Alias


class Aliases:
    """The aliases of a project. Each change is one row, in force at once; a server that runs knows it within a second.

    Aliases(".").set("live", {"desk:001": 0.95, "desk:002": 0.05}, why="canary")
    """

    def __init__(
        self,
        workspace: Workspace | str | Path = ".",
        *,
        project: str = DEFAULT_PROJECT,
        by: str | None = None,
        names: Names | None = None,
    ) -> None:
        """by: who is recorded; left out, the user of this machine."""
        self.place = workspace if isinstance(workspace, Workspace) else Workspace.open(workspace)
        self.project, self.by = project, _user() if by is None else by
        self.names = names or Names(workspace=self.place)

    def set(self, name: str, shares: Mapping[str, float], *, why: str = "") -> Alias:
        """Send shares of an alias's requests to models. Raises TunewrightError."""
        return self._change(aliases.put, name, shares, why=why)

    def promote(self, name: str, model: str, *, why: str = "") -> Alias:
        """Send all of them to one model. Raises NotThere."""
        return self._change(aliases.promote, name, model, why=why)

    def roll_back(self, name: str, *, why: str = "") -> Alias:
        """Bring back what was in force before. Raises NotThere."""
        return self._change(aliases.roll_back, name, why=why)

    def remove(self, name: str, *, why: str = "") -> None:
        """Take an alias away. Raises NotThere."""
        with self.place.database.writing() as session:
            aliases.remove(session, name, self.project, by=self.by, why=why)

    def every(self) -> list[Alias]:
        """All that are in force, by name."""
        with self.place.database.reading() as session:
            return aliases.every(session, self.project)

    def history(self, name: str) -> Sequence[Alias]:
        """What an alias was, newest first. Raises NotThere where it is not there now."""
        with self.place.database.reading() as session:
            aliases.check_there(session, name, self.project)
            return aliases.history(session, name, self.project)

    def _change(self, change: Callable[..., Alias], name: str, *arguments: Any, why: str) -> Alias:
        with self.place.database.writing() as session:
            is_model = partial(self.names.is_model, session, project=self.project)
            return change(session, name, self.project, *arguments, is_model=is_model, by=self.by, why=why)


def _user() -> str:
    with suppress(OSError, KeyError):  # a container may have no name for its user
        return getpass.getuser()[:64]
    return ""
