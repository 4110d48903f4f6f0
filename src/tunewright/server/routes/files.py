"""Files: uploaded in one piece, listed, looked at, fetched, deleted."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from tunewright.core import storage
from tunewright.server import checking, multipart, paging
from tunewright.server.background import Background
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError
from tunewright.server.routing import needs, takes
from tunewright.server.wire.files import purpose_of, refuse_name, seconds_of, shown
from tunewright.workspace import files, ids
from tunewright.workspace.tables import File

MOST_LISTED = 10_000
SWEEP_SECONDS = 60
_TYPES = {"csv": "text/csv", "jsonl": "application/jsonl", "json": "application/json", "txt": "text/plain"}


def add(api: APIRouter, front: Front) -> None:
    """/v1/files."""
    place = front.place
    largest = int(place.config.files.largest_mib * 2**20)
    front.background[checking.NAME] = checking.background(place)
    front.background["files swept"] = Background("files swept", lambda: files.sweep(place), seconds=SWEEP_SECONDS)

    @api.post("/v1/files")
    @needs("train")
    @takes(largest + multipart.OVERHEAD)
    async def create(request: Request) -> dict[str, Any]:
        return shown(await _received(front, request, largest))

    @api.get("/v1/files")
    @needs("train")
    def listing(request: Request) -> dict[str, Any]:
        return _page(front, request)

    @api.get("/v1/files/{file_id}")
    @needs("train")
    def retrieve(request: Request, file_id: str) -> dict[str, Any]:
        return shown(_found(front, request, file_id))

    @api.get("/v1/files/{file_id}/content")
    @needs("train")
    def content(request: Request, file_id: str) -> Response:
        return _content(front, _found(front, request, file_id))

    @api.delete("/v1/files/{file_id}")
    @needs("train")
    def delete(request: Request, file_id: str) -> dict[str, Any]:
        with place.database.writing() as session:
            deleted = files.delete(session, file_id, project=caller_of(request).project)
        if not deleted:
            raise no_file(file_id)
        front.background["files swept"].wake()
        return {"id": file_id, "object": "file", "deleted": True}


async def _received(front: Front, request: Request, largest: int) -> File:
    """The file that a form holds, kept and perhaps looked at."""
    file_id = ids.new("file-")
    path = front.place.files / file_id
    form = await multipart.receive(request, path, file="file", most=largest)
    try:
        refuse_name(form.filename)
        purpose, seconds = purpose_of(form.fields), seconds_of(form.fields)
    except ApiError:
        await asyncio.to_thread(storage.remove, path)
        raise
    assert form.arrived is not None
    row = files.new(
        file_id, form.arrived, filename=form.filename or "file", purpose=purpose, seconds=seconds,
        project=caller_of(request).project,
    )  # fmt: skip
    return await asyncio.to_thread(checking.keep, front, row)


def _page(front: Front, request: Request) -> dict[str, Any]:
    asked = paging.cursor(request.query_params, default=MOST_LISTED, most=MOST_LISTED, others=("purpose",))
    where = [File.project == caller_of(request).project, files.alive()]
    purpose = request.query_params.get("purpose")
    if purpose is not None:
        if purpose not in (*files.PURPOSES, files.RESULTS):
            message = f"Invalid 'purpose': '{purpose[:80]}'. Choose from: {', '.join(files.PURPOSES)}."
            raise ApiError(400, message, param="purpose", code="invalid_value")
        where.append(File.purpose == purpose)
    with front.place.database.reading() as session:
        rows, more = paging.page(
            session, File, *where, after=asked.after, limit=asked.limit, newest_first=asked.newest_first
        )
    return paging.listed(rows, shown, has_more=more)


def _content(front: Front, row: File) -> Response:
    """The bytes, as what they are; never as a page, which a browser would run."""
    path = front.place.files / row.id
    if not path.is_file():
        raise no_file(row.id)
    kind = _TYPES.get(row.filename.rpartition(".")[2].lower(), "application/octet-stream")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(row.filename, safe='')}",
        "x-content-type-options": "nosniff",
    }
    return FileResponse(path, media_type=kind, headers=headers)


def _found(front: Front, request: Request, file_id: str) -> File:
    with front.place.database.reading() as session:
        row = files.find(session, file_id, project=caller_of(request).project)
    if row is None:
        raise no_file(file_id)
    return row


def no_file(file_id: str, *, status: int = 404, param: str = "id") -> ApiError:
    """The answer where there is no such file. As a parameter of another call it is a bad request."""
    message = f"No such File object: {file_id[:80]}. List the files there are with GET /v1/files."
    return ApiError(status, message, param=param, code="not_found" if status == 404 else "invalid_value")
