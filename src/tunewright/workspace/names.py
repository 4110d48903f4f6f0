"""What names stand for: base models, runs with their releases, tuned models, aliases. Nothing is opened here, and no
name is made into a path: it is looked up among those that are there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from tunewright.core import storage
from tunewright.core.errors import TunewrightError
from tunewright.core.run import Run
from tunewright.workspace import aliases
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import DEFAULT_PROJECT, Job, Model, Permission

LONGEST = 512
_KEPT = ("run", "release", "created", "base", "verdict", "override", "decode", "root")  # of a manifest, to be told


@dataclass(frozen=True)
class Release:
    """A release by the name that its answers tell. fingerprint: the hash of its manifest, which lists all files with
    their hashes; "" where it cannot be read.
    """

    name: str
    folder: Path
    fingerprint: str
    about: dict[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Base:
    """An untouched base by its name."""

    name: str
    base: str  # what to open


Candidate = Release | Base


@dataclass(frozen=True)
class Meaning:
    """What a name stands for: what to open, the best first; of an alias, that of each of its models."""

    candidates: tuple[Candidate, ...] = ()
    created: int = 0  # seconds since 1970
    alias: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)

    def in_order(self, name: str, user: str | None = None) -> list[tuple[str, tuple[Candidate, ...]]]:
        """What to try for a request that asks `name`: names with what they stand for, of which the first that can be
        opened answers. user: whose requests an alias sends the same way; left out, it draws.
        """
        if not self.alias:
            return [(name, self.candidates)]
        chosen = aliases.order(self.shares, alias=self.alias, user=user or secrets.token_hex(8))
        return [(model, self.models[model]) for model in chosen]


@dataclass(frozen=True)
class Known:
    """A name that can be asked for, as a list shows it."""

    name: str
    created: int = 0  # seconds since 1970
    about: dict[str, Any] = field(default_factory=dict)
    release: Release | None = None
    shares: Mapping[str, float] | None = None  # of an alias


class Names:
    """Names of some runs and bases, or of a workspace. Projects are apart: what belongs to another is not there. Runs
    that no job made belong to the default project. May be asked from several threads.
    """

    def __init__(
        self, runs: Sequence[Run] = (), *, bases: Mapping[str, str] | None = None, workspace: Workspace | None = None
    ) -> None:
        self.runs = {run.name: run for run in runs}
        self.workspace = workspace
        self.bases: dict[str, str] = dict(bases or (workspace.config.models if workspace else {}))
        self._manifests: dict[Path, tuple[tuple[int, ...], str, dict[str, Any]]] = {}  # with what tells a change
        self._had: dict[str, list[Release]] = {}  # releases that a run had when it was last asked for

    # --- one name ---

    def find(self, name: str, project: str | None = DEFAULT_PROJECT) -> Meaning | None:
        """What a project (None: any) means by a name; None where it means nothing."""
        if not 1 <= len(name) <= LONGEST or not name.isprintable():
            return None
        if self.workspace is None:
            return self._plain(None, name, project)
        with self.workspace.database.reading() as session:
            alias = aliases.current(session, name, project or DEFAULT_PROJECT)
            if alias is None:
                return self._plain(session, name, project)
            meanings = {model: self._plain(session, model, project) for model in alias.shares}
        models = {model: found.candidates if found else () for model, found in meanings.items()}
        return Meaning(created=int(alias.created), alias=name, shares=alias.shares, models=models)

    def is_model(self, session: Session | None, name: str, project: str) -> bool:
        """Whether a project can ask for a name that is no alias."""
        return name.isprintable() and self._plain(session, name, project) is not None

    def _plain(self, session: Session | None, name: str, project: str | None) -> Meaning | None:
        if name in self.bases and name not in self.runs:
            return Meaning((Base(name, self.bases[name]),))
        if session is not None and self.workspace is not None:
            row = session.scalar(select(Model).where(Model.name == name, *_asked_by(project)))
            if row is not None:
                return Meaning((self._tuned(row),), int(row.created))
        for run_name, number in ((name, ""), name.rpartition(":")[::2]):
            run = self._run(session, run_name, project)
            if run is not None:
                found = [one for one in self._releases(run) if number in ("", one.folder.name)]
                if found:
                    return Meaning(tuple(reversed(found)), _seconds(found[-1].about.get("created")))
        return None

    def _tuned(self, row: Model) -> Release:
        assert self.workspace is not None
        folder = self.workspace.runs / row.folder
        fingerprint, about = self._manifest(folder)
        return Release(row.name, folder, fingerprint, {"base": row.base, **about})

    def _run(self, session: Session | None, name: str, project: str | None) -> Run | None:
        if session is None or self.workspace is None:
            return self.runs.get(name)
        if name not in self._there() and name not in self._had:
            return None
        owner = session.scalar(select(Job.project).where(Job.run == name).limit(1)) or DEFAULT_PROJECT
        return Run(self.workspace.runs / name) if project in (owner, None) else None

    def _there(self) -> set[str]:
        """The names of all runs of the workspace."""
        assert self.workspace is not None
        with os.scandir(self.workspace.runs) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}

    def _releases(self, run: Run) -> list[Release]:
        """Oldest first. Of a run that was put aside those that it had: what is open of them goes on."""
        found = [self._release(run, folder) for folder in run.releases()]
        if found:
            self._had[run.name] = found
        return found or self._had.get(run.name, [])

    def _release(self, run: Run, folder: Path) -> Release:
        fingerprint, about = self._manifest(folder)
        return Release(f"{run.name}:{folder.name}", folder, fingerprint, about)

    def _manifest(self, folder: Path) -> tuple[str, dict[str, Any]]:
        """The hash of a manifest and what it says, read again when the file is another one."""
        path = folder / "manifest.json"
        try:
            facts = path.stat()
            mark = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            known = self._manifests.get(path)
            if known is None or known[0] != mark:
                whole = storage.read_json(path)
                about = {key: whole[key] for key in _KEPT if whole.get(key) is not None}
                known = self._manifests[path] = (mark, storage.sha256(path), about)
        except (OSError, ValueError, TypeError, AttributeError, TunewrightError):  # opening it says what is wrong
            return "", {}
        return known[1], known[2]

    # --- all names ---

    def listed(self, project: str = DEFAULT_PROJECT) -> list[Known]:
        """Every name that a project can ask for. Runs of jobs are there by their tuned model's name."""
        found: dict[str, Known] = {}
        if self.workspace is None:
            runs: Iterator[Run] = iter(self.runs.values())
        else:
            with self.workspace.database.reading() as session:
                for alias in aliases.every(session, project):
                    found[alias.name] = Known(alias.name, int(alias.created), shares=alias.shares)
                for row in session.scalars(select(Model).where(*_asked_by(project)).order_by(Model.number)):
                    found[row.name] = self._known(self._tuned(row), created=int(row.created))
                of_jobs = set(session.scalars(select(Job.run))) if project == DEFAULT_PROJECT else set()
            names = sorted(self._there() - of_jobs) if project == DEFAULT_PROJECT else []
            runs = (Run(self.workspace.runs / name) for name in names)
        for run in runs:
            releases = self._releases(run)
            if releases:
                found.setdefault(run.name, self._known(releases[-1], name=run.name))
            for one in releases:
                found.setdefault(one.name, self._known(one))
        for name in self.bases:
            found.setdefault(name, Known(name))
        return list(found.values())

    def one(self, name: str, project: str = DEFAULT_PROJECT) -> Known | None:
        """One of them."""
        meant = self.find(name, project)
        if meant is None:
            return None
        first = next(iter(meant.candidates), None)
        release = first if isinstance(first, Release) else None
        about = release.about if release else {}
        return Known(name, meant.created, about, release, meant.shares if meant.alias else None)

    def _known(self, release: Release, *, name: str = "", created: int | None = None) -> Known:
        if created is None:
            created = _seconds(release.about.get("created"))
        return Known(name or release.name, created, release.about, release)


def _asked_by(project: str | None) -> tuple[ColumnElement[bool], ...]:
    """Which tuned models a project can ask: its own, and those it was permitted."""
    if project is None:
        return (Model.deleted.is_(None),)
    permitted = exists().where(Permission.model == Model.name, Permission.project == project)
    return (Model.deleted.is_(None), or_(Model.project == project, permitted))


def _seconds(created: Any) -> int:
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except (TypeError, ValueError):
        return 0
