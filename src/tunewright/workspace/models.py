"""Tuned models by their names."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunewright.workspace.tables import Model


def find(session: Session, name: str, *, project: str) -> Model | None:
    """A tuned model of a project, or a checkpoint's, by its name."""
    if not name.isprintable():  # what no name holds, a database may refuse to compare
        return None
    return session.scalar(select(Model).where(Model.name == name, Model.project == project, Model.deleted.is_(None)))
