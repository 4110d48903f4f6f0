"""Uploads: a file that comes in parts, each at most 64 MiB, within an hour."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.server import checking, multipart
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs, takes
from tunewright.server.wire.files import Complete, NewUpload, refuse_name, shown_part, shown_upload
from tunewright.workspace import files, ids, uploads
from tunewright.workspace.tables import File, Upload, UploadPart


def add(api: APIRouter, front: Front) -> None:
    """/v1/uploads."""
    place = front.place
    largest = int(place.config.files.upload_gib * 2**30)

    @api.post("/v1/uploads")
    @needs("train")
    async def create(request: Request) -> dict[str, Any]:
        return shown_upload(await _begun(front, request, largest))

    @api.post("/v1/uploads/{upload_id}/parts")
    @needs("train")
    @takes(uploads.PART_BYTES + multipart.OVERHEAD)
    async def add_part(request: Request, upload_id: str) -> dict[str, Any]:
        return shown_part(await _part(front, request, upload_id))

    @api.post("/v1/uploads/{upload_id}/complete")
    @needs("train")
    async def complete(request: Request, upload_id: str) -> dict[str, Any]:
        asked = parse(Complete, await request.body())
        upload, file = await asyncio.to_thread(_complete, front, request, upload_id, asked)
        return shown_upload(upload, file)

    @api.post("/v1/uploads/{upload_id}/cancel")
    @needs("train")
    def cancel(request: Request, upload_id: str) -> dict[str, Any]:
        with place.database.writing() as session:
            upload = _found(front, request, upload_id)
            if uploads.status(upload) != "cancelled" and not uploads.end(session, upload_id, to="cancelled"):
                raise _not_pending(upload, "cancelled")
        uploads.remove_parts(place, upload_id)
        return shown_upload(_found(front, request, upload_id))


async def _begun(front: Front, request: Request, largest: int) -> Upload:
    asked = parse(NewUpload, await request.body())
    refuse_name(asked.filename)
    if asked.bytes > largest:
        message = f"Invalid 'bytes': this server takes files of at most {largest:,} bytes. Send less."
        raise ApiError(400, message, param="bytes", code="invalid_value")
    row = Upload(id=ids.new("upload_"), project=caller_of(request).project, created=time.time())
    row.filename, row.purpose, row.bytes, row.mime_type = asked.filename, asked.purpose, asked.bytes, asked.mime_type
    row.status, row.expires = "pending", row.created + uploads.LIFE_SECONDS
    row.file_expires_after = asked.expires_after.seconds if asked.expires_after else None
    await asyncio.to_thread(_added, front, row)
    return row


async def _part(front: Front, request: Request, upload_id: str) -> UploadPart:
    await asyncio.to_thread(_room, front, request, upload_id)
    part = UploadPart(id=ids.new("part_"), upload_id=upload_id, created=time.time())
    path = front.place.uploads / part.id
    form = await multipart.receive(request, path, file="data", most=uploads.PART_BYTES)
    assert form.arrived is not None
    part.bytes, part.sha256 = form.arrived.num_bytes, form.arrived.sha256
    try:
        if form.fields:
            name = next(iter(form.fields))[:80]
            raise ApiError(400, f"Unknown parameter: '{name}'. Send data alone.", param=name, code="unknown_parameter")
        await asyncio.to_thread(_keep_part, front, request, part)
    except ApiError:
        await asyncio.to_thread(storage.remove, path)
        raise
    return part


def _added(front: Front, row: Upload) -> None:
    with front.place.database.writing() as session:
        session.add(row)


def _found(front: Front, request: Request, upload_id: str) -> Upload:
    with front.place.database.reading() as session:
        row = uploads.find(session, upload_id, project=caller_of(request).project)
    if row is None:
        message = f"No such Upload object: {upload_id[:80]}. Create it with POST /v1/uploads."
        raise ApiError(404, message, param="upload_id", code="not_found")
    return row


def _room(front: Front, request: Request, upload_id: str) -> int:
    """How many bytes may still come. Raises ApiError where none may."""
    upload = _found(front, request, upload_id)
    if uploads.status(upload) != "pending":
        raise _not_pending(upload, "added to")
    with front.place.database.reading() as session:
        room = uploads.room(session, upload)
    if not room:
        message = f"The upload was to have {upload.bytes:,} bytes, and twice as much has come. Begin another."
        raise ApiError(400, message, param="data", code="too_many_bytes")
    return room


def _keep_part(front: Front, request: Request, part: UploadPart) -> None:
    """Add the row of a part, unless the upload has ended or its parts are too many."""
    if part.bytes > _room(front, request, part.upload_id):
        message = f"The part's {part.bytes:,} bytes are more than the upload was to have. Begin another."
        raise ApiError(400, message, param="data", code="too_many_bytes")
    with front.place.database.writing() as session:
        session.add(part)


def _complete(front: Front, request: Request, upload_id: str, asked: Complete) -> tuple[Upload, File]:
    """Make the file of the parts. A second call answers as the first did, since clients repeat what they lost."""
    place, upload = front.place, _found(front, request, upload_id)
    status = uploads.status(upload)
    if status == "pending":
        try:
            with place.database.reading() as session:
                found = uploads.parts(session, upload, asked.part_ids)
            row = uploads.join(place, upload, found, md5=asked.md5)
        except DataError as error:
            raise ApiError(400, str(error), param="part_ids", code="invalid_value") from None
        except FileNotFoundError:
            raise _not_pending(_found(front, request, upload_id), "completed") from None
        except OSError as error:
            raise multipart.disk_is_full(error) from None
        with place.database.writing() as session:
            won = uploads.end(session, upload_id, to="completed", file_id=row.id)
            if won:
                session.add(row)
        if won:
            uploads.remove_parts(place, upload_id)
            checking.soon(front, row)
        else:
            storage.remove(place.files / row.id)
        upload = _found(front, request, upload_id)
    if upload.status != "completed":
        raise _not_pending(upload, "completed")
    with place.database.reading() as session:
        file = files.find(session, str(upload.file_id), project=upload.project)
    if file is None:
        raise _not_pending(upload, "completed")
    return upload, file


def _not_pending(upload: Upload, done: str) -> ApiError:
    status = uploads.status(upload)
    state = "pending, but parts of it are gone" if status == "pending" else status
    message = f"Upload {upload.id} cannot be {done}: it is {state}. Begin another with POST /v1/uploads."
    return ApiError(400, message, param="upload_id", code="upload_not_pending")
