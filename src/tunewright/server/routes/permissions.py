"""Which other projects may ask a tuned model or one of its checkpoints."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.paging import cursor, listed, page
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs
from tunewright.server.wire.permissions import PermissionRequest, permission_object
from tunewright.workspace import ids, models
from tunewright.workspace.tables import Permission

LIMIT = 10  # rows of a page where none is asked for
MOST = 10_000
ORDERS = ("ascending", "descending")
_PATH = "/v1/fine_tuning/checkpoints/{name:path}/permissions"


def add(api: APIRouter, front: Front) -> None:
    """/v1/fine_tuning/checkpoints/{name}/permissions: as in the API, for administrators."""
    database = front.place.database

    @api.post(_PATH)
    @needs("admin")
    async def create(request: Request, name: str) -> dict[str, Any]:
        asked = parse(PermissionRequest, await request.body())
        return await asyncio.to_thread(permit, request, name, asked)

    def permit(request: Request, name: str, asked: PermissionRequest) -> dict[str, Any]:
        with database.writing() as session:
            _own(session, request, name)
            database.one_at_a_time(session, name)
            rows = [_permitted(session, name, project) for project in dict.fromkeys(asked.project_ids)]
        return listed(rows, permission_object, has_more=False)

    @api.get(_PATH)
    @needs("admin")
    def list_permissions(request: Request, name: str) -> dict[str, Any]:
        query = request.query_params
        asked = cursor(query, default=LIMIT, most=MOST, others=["project_id"], orders=ORDERS)
        where = [Permission.model == name]
        if "project_id" in query:
            where.append(Permission.project == ids.comparable(query["project_id"]))
        with database.reading() as session:
            _own(session, request, name)
            rows, more = page(session, Permission, *where, **asdict(asked))
        return listed(rows, permission_object, has_more=more)

    @api.delete(f"{_PATH}/{{permission_id}}")
    @needs("admin")
    def take_back(request: Request, name: str, permission_id: str) -> dict[str, Any]:
        gone = delete(Permission).where(Permission.model == name, Permission.id == ids.comparable(permission_id))
        with database.writing() as session:
            _own(session, request, name)
            if not session.execute(gone.returning(Permission.number)).first():
                message = f"There is no permission '{permission_id[:80]}' of this model. List those there are."
                raise ApiError(404, message, param="permission_id", code="permission_not_found")
        return {"id": permission_id, "object": "checkpoint.permission", "deleted": True}


def _permitted(session: Session, name: str, project: str) -> Permission:
    held = session.scalar(select(Permission).where(Permission.model == name, Permission.project == project))
    if held is None:
        held = Permission(id=ids.new("cp_"), model=name, project=project)
        session.add(held)
        session.flush()
    return held


def _own(session: Session, request: Request, name: str) -> None:
    if models.find(session, name, project=caller_of(request).project) is None:
        message = f"There is no tuned model '{name[:200]}' in this project. List those there are with GET /v1/models."
        raise ApiError(404, message, param="fine_tuned_model_checkpoint", code="model_not_found")
