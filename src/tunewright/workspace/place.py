"""Workspace: a folder with runs/ and .tunewright/, where a server keeps its state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunewright.core.errors import RunError
from tunewright.workspace.config import Config
from tunewright.workspace.database import Database, sqlite_url

STATE = ".tunewright"


@dataclass(frozen=True)
class Workspace:
    """An opened workspace."""

    folder: Path
    config: Config
    database: Database

    @classmethod
    def open(cls, folder: str | Path = ".") -> Workspace:
        """The workspace of a folder (or of its .tunewright/), made where there is none. Raises RecipeError, NotThere,
        RunError.
        """
        home = Path(folder).resolve()
        home = home.parent if home.name == STATE else home
        state = home / STATE
        try:
            for place in (state, state / "files", state / "uploads", home / "runs"):
                place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The workspace {home} cannot be written ({error.strerror}: {error.filename}). "
                "Mend its permissions, or give another folder with --workspace."
            ) from None
        config = Config.load(state / "workspace.yaml")
        return cls(home, config, Database(config.database or sqlite_url(state / "workspace.sqlite")))

    @property
    def state(self) -> Path:
        """Where the server's own files are."""
        return self.folder / STATE

    @property
    def runs(self) -> Path:
        """Where runs are, those of jobs among them."""
        return self.folder / "runs"

    @property
    def files(self) -> Path:
        """Uploaded and written files, by id."""
        return self.state / "files"

    @property
    def uploads(self) -> Path:
        """Parts of uploads, by id."""
        return self.state / "uploads"
