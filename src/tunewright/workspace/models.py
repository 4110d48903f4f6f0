"""Tuned models by their names."""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunewright.core.errors import TunewrightError
from tunewright.workspace import aliases, ids
from tunewright.workspace.tables import Model


def find(session: Session, name: str, *, project: str) -> Model | None:
    """A tuned model of a project, or a checkpoint's, by its name."""
    alive = Model.deleted.is_(None)
    return session.scalar(select(Model).where(Model.name == ids.comparable(name), Model.project == project, alive))


def delete(session: Session, name: str, *, project: str) -> bool:
    """Take a tuned model's name away from its project; whether it was there. Its run's files stay. Raises
    TunewrightError while an alias sends requests to it.
    """
    row = find(session, name, project=project)
    if row is None:
        return False
    if named := aliases.naming(session, name, project):
        raise TunewrightError(
            f"Alias '{named[0]}' sends requests to '{name}'. Promote another model there first, or remove the alias."
        )
    row.deleted = time.time()
    return True
