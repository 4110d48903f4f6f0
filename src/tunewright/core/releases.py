"""Finds releases by name: `run` (its newest), `run:002`, or a folder."""

from __future__ import annotations

from pathlib import Path

from tunewright.core.errors import NotThere
from tunewright.core.run import Run


def find_release(name: str | Path, *, runs: str | Path = "runs") -> Path:
    """The folder of a release: `run` (its newest), `run:002`, or a folder. Raises NotThere."""
    name = str(name)
    folder = Path(name)
    if (folder / "manifest.json").exists():
        return folder
    run_name, colon, number = name.rpartition(":") if not folder.exists() else (name, "", "")
    if not colon:
        run_name, number = name, ""
    run = Run.open(run_name, runs=runs)
    releases = run.releases()
    if not releases:
        raise NotThere(f"Run '{run.name}' has no release yet. Make one with: tunewright deploy {run.folder}")
    if not number:
        return releases[-1]
    for release in releases:
        if number.isdecimal() and int(release.name) == int(number):
            return release
    raise NotThere(
        f"Run '{run.name}' has no release '{number}'. Releases: {', '.join(path.name for path in releases)}."
    )
