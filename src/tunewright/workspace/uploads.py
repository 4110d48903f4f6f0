"""Uploads: files that come in parts. Their rows and the parts' bytes, and how these become a file."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.workspace import files, ids
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import File, Upload, UploadPart

LIFE_SECONDS = 3600
PART_BYTES = 64 * 2**20  # the largest part, as OpenAI has it
MOST_PARTS = 10_000
_BLOCK = 2**20


def find(session: Session, upload_id: str, *, project: str) -> Upload | None:
    """An upload of a project by its id."""
    return session.scalar(select(Upload).where(Upload.id == ids.comparable(upload_id), Upload.project == project))


def status(upload: Upload) -> str:
    """pending, completed, cancelled or expired."""
    return "expired" if upload.status == "pending" and upload.expires <= time.time() else upload.status


def end(session: Session, upload_id: str, *, to: str, file_id: str | None = None) -> bool:
    """Change the state of a pending upload; whether it was pending still."""
    wanted = (
        update(Upload)
        .where(Upload.id == upload_id, Upload.status == "pending", Upload.expires > time.time())
        .values(status=to, file_id=file_id)
        .returning(Upload.number)
    )
    return session.execute(wanted).first() is not None


def room(session: Session, upload: Upload) -> int:
    """How many bytes of parts may still come: twice the size, as a part may come again when its answer was lost."""
    held, num_parts = session.execute(
        select(func.coalesce(func.sum(UploadPart.bytes), 0), func.count()).where(UploadPart.upload_id == upload.id)
    ).one()
    return 0 if num_parts >= MOST_PARTS else max(0, 2 * upload.bytes - int(held))


def parts(session: Session, upload: Upload, part_ids: Sequence[str]) -> list[UploadPart]:
    """The parts of an upload in the order of their ids. Raises DataError where one is not there or named twice."""
    if len(set(part_ids)) < len(part_ids):
        raise DataError("A part is named twice. Name each part once, in their order.")
    known = {part.id: part for part in session.scalars(select(UploadPart).where(UploadPart.upload_id == upload.id))}
    if lost := [part_id for part_id in part_ids if part_id not in known]:
        raise DataError(f"There is no part '{lost[0][:80]}' in this upload. Name the parts that were answered.")
    return [known[part_id] for part_id in part_ids]


def join(place: Workspace, upload: Upload, found: Sequence[UploadPart], *, md5: str | None) -> File:
    """The file that the parts make, its bytes in their place. Raises DataError where size or checksum differ."""
    total = sum(part.bytes for part in found)
    if total != upload.bytes:
        raise DataError(
            f"The parts have {total:,} bytes, and the upload was to have {upload.bytes:,}. Name all of them."
        )
    file_id = ids.new("file-")
    with storage.arriving(place.files / file_id) as arriving:
        for part in found:
            with (place.uploads / part.id).open("rb") as file:
                while block := file.read(_BLOCK):
                    arriving.write(block)
        if md5 is not None and arriving.md5 != md5.lower():
            raise DataError(f"The parts have the MD5 {arriving.md5}, and {md5[:64]} was given. Send them again.")
        if arriving.num_bytes != total:
            raise DataError("A part has changed on the disk. Send the file again.")
    return files.new(
        file_id, arriving, filename=upload.filename, purpose=upload.purpose, project=upload.project,
        seconds=upload.file_expires_after,
    )  # fmt: skip


def remove_parts(place: Workspace, upload_id: str) -> None:
    """Remove the bytes of an upload's parts."""
    with place.database.reading() as session:
        known = session.scalars(select(UploadPart.id).where(UploadPart.upload_id == upload_id)).all()
    for part_id in known:
        storage.remove(place.uploads / part_id)
