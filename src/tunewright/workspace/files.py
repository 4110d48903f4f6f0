"""Files of a workspace: rows of the database, and their bytes in files/ under their ids.

A file is gone from the API as soon as it is deleted or expires. Its bytes go then, too, unless a job that has not ended
learns from them: they go when it has ended (`sweep`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from tunewright.core import storage
from tunewright.core.spans import DAY_SECONDS
from tunewright.workspace import ids
from tunewright.workspace.jobs import ENDED
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import File, Job, Upload, UploadPart

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]  # that a client may give
PURPOSES: tuple[str, ...] = get_args(Purpose)
RESULTS = "fine-tune-results"
BATCH_DAYS = 30  # after which files of batches expire where nothing else is said
STALE_SECONDS = 3600  # what no row names and has not been written to for so long is left of a killed server


def alive() -> ColumnElement[bool]:
    """Rows that are neither deleted nor expired."""
    return File.deleted.is_(None) & or_(File.expires.is_(None), File.expires > time.time())


def find(session: Session, file_id: str, *, project: str) -> File | None:
    """A file of a project by its id."""
    return session.scalar(select(File).where(*_one(file_id, project)))


def _one(file_id: str, project: str) -> tuple[ColumnElement[bool], ...]:
    return (File.id == ids.comparable(file_id), File.project == project, alive())


def new(
    file_id: str,
    arrived: storage.Arriving,
    *,
    filename: str,
    purpose: str,
    project: str,
    seconds: int | None = None,
) -> File:
    """The row of a file whose bytes are in their place. seconds: after which it expires.

    One to learn from is `uploaded` until its rows have been looked at.
    """
    if seconds is None and purpose == "batch":
        seconds = BATCH_DAYS * DAY_SECONDS
    now = time.time()
    row = File(id=file_id, project=project, created=now, filename=filename, purpose=purpose)
    row.bytes, row.sha256 = arrived.num_bytes, arrived.sha256
    row.status = "uploaded" if purpose == "fine-tune" else "processed"
    row.expires = None if seconds is None else now + seconds
    return row


def delete(session: Session, file_id: str, *, project: str) -> bool:
    """Delete a file, unless it is not there; whether it was. Its bytes are the business of `sweep`."""
    gone = update(File).where(*_one(file_id, project)).values(deleted=time.time()).returning(File.number)
    return session.execute(gone).first() is not None


def in_use(session: Session) -> set[str]:
    """Ids of the files that jobs which have not ended learn from."""
    rows = session.execute(select(Job.training_file, Job.validation_file).where(Job.status.not_in(ENDED)))
    return {file_id for row in rows for file_id in row if file_id is not None}


def sweep(place: Workspace) -> None:
    """Remove the bytes of files and parts that are gone, and what killed servers left; expire uploads."""
    with place.database.writing() as session:
        session.execute(
            update(Upload).where(Upload.status == "pending", Upload.expires <= time.time()).values(status="expired")
        )
    with place.database.reading() as session:
        gone = set(session.scalars(select(File.id).where(~alive()))) - in_use(session)
        kept = set(session.scalars(select(File.id))) - gone
        pending = select(Upload.id).where(Upload.status == "pending")
        parts = set(session.scalars(select(UploadPart.id).where(UploadPart.upload_id.in_(pending))))
    _remove(place.files, kept, gone)
    with place.database.reading() as session:
        known = set(session.scalars(select(UploadPart.id)))
    _remove(place.uploads, parts, known)


def _remove(folder: Path, kept: set[str], gone: set[str]) -> None:
    """Remove the files of a folder but those kept; those that are not known to be gone only when they are stale."""
    for path in folder.iterdir():
        if path.is_file() and path.name not in kept and (path.name in gone or _is_stale(path)):
            storage.remove(path)


def _is_stale(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - STALE_SECONDS
    except FileNotFoundError:
        return False
