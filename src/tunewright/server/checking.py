"""Looks at the rows of files that are to be learned from: small ones at once, others beside the answers."""

from __future__ import annotations

import logging

from sqlalchemy import select, update

from tunewright.server.background import Background
from tunewright.server.front import Front
from tunewright.stages import api_rows
from tunewright.workspace import files
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import File

log = logging.getLogger("tunewright.server")

AT_ONCE_BYTES = 2 * 2**20  # looked at before the upload is answered
AGAIN_SECONDS = 30
LONGEST_DETAILS = 1000  # characters


NAME = "files checked"


def background(place: Workspace) -> Background:
    """The work that looks at all files which were not looked at."""

    def work() -> None:
        with place.database.reading() as session:
            waiting = select(File).where(File.status == "uploaded", files.alive()).order_by(File.number)
            rows = session.scalars(waiting).all()
        for row in rows:
            look(place, row, lambda: not checker.ending)

    checker = Background(NAME, work, seconds=AGAIN_SECONDS)
    return checker


def keep(front: Front, row: File) -> File:
    """Add a file's row, with what its rows are like where that is soon known."""
    with front.place.database.writing() as session:
        session.add(row)
    return soon(front, row)


def soon(front: Front, row: File) -> File:
    """Look at a file at once where it is small, else beside the answers; the row as it then is."""
    place = front.place
    if row.status != "uploaded":
        return row
    if row.bytes > AT_ONCE_BYTES:
        front.background[NAME].wake()
        return row
    look(place, row, lambda: True)
    with place.database.reading() as session:
        return session.scalars(select(File).where(File.id == row.id)).one()


def look(place: Workspace, row: File, going: api_rows.Going) -> None:
    """Look at a file's rows and write down whether they can be learned from."""
    try:
        found = api_rows.look(place.files / row.id, going=going)
    except FileNotFoundError:  # deleted meanwhile
        return
    if found is None:
        return
    status = "error" if found.problem else "processed"
    details = found.problem[:LONGEST_DETAILS] if found.problem else None
    with place.database.writing() as session:
        session.execute(update(File).where(File.id == row.id).values(status=status, status_details=details))
    log.info("file %s: %s rows, %s", row.id, found.num_rows, details or "fine")
