"""Keys: made, listed and revoked by those who have the scope admin, each in their own project."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunewright.server.background import Background
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.keyring import WRITING_SECONDS
from tunewright.server.paging import cursor, listed, page
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs
from tunewright.server.wire.keys import KeyRequest, shown
from tunewright.workspace import keys
from tunewright.workspace.tables import Key


def add(api: APIRouter, front: Front) -> None:
    """/v1/keys."""
    front.background["keys"] = Background("keys", front.keyring.write, seconds=WRITING_SECONDS)

    @api.post("/v1/keys")
    @needs("admin")
    async def create(request: Request) -> dict[str, Any]:
        asked = parse(KeyRequest, await request.body())
        made = await run_in_threadpool(_create, front, asked, caller_of(request).project)
        front.keyring.forget()
        return made

    @api.get("/v1/keys")
    @needs("admin")
    def list_keys(request: Request) -> dict[str, Any]:
        asked = cursor(request.query_params, default=20, most=100)
        with front.place.database.reading() as session:
            where = Key.project == caller_of(request).project
            rows, more = page(session, Key, where, **asdict(asked))
        return listed(rows, shown, has_more=more)

    @api.get("/v1/keys/{key_id}")
    @needs("admin")
    def retrieve(request: Request, key_id: str) -> dict[str, Any]:
        with front.place.database.reading() as session:
            row = keys.named(session, key_id, project=caller_of(request).project)
        if row is None:
            raise _no_key(key_id)
        return shown(row)

    @api.delete("/v1/keys/{key_id}")
    @needs("admin")
    def revoke(request: Request, key_id: str) -> dict[str, Any]:
        with front.place.database.writing() as session:
            row = keys.revoke(session, key_id, project=caller_of(request).project)
        if row is None:
            raise _no_key(key_id)
        front.keyring.forget()
        return {"id": key_id, "object": "api_key.deleted", "deleted": True}


def _create(front: Front, asked: KeyRequest, project: str) -> dict[str, Any]:
    expires = None if asked.expires_in_seconds is None else time.time() + asked.expires_in_seconds
    limits = keys.Limits(
        requests_per_minute=asked.requests_per_minute,
        tokens_per_minute=asked.tokens_per_minute,
        tokens_per_day=asked.tokens_per_day,
    )
    with front.place.database.writing() as session:
        made = keys.create(
            session,
            name=asked.name,
            project=project,
            scopes=asked.scopes,
            models=asked.models,
            limits=limits,
            expires=expires,
        )
    return shown(made.row) | {"key": made.secret}


def _no_key(key_id: str) -> ApiError:
    message = f"There is no key '{key_id[:80]}' in this project. List those there are."
    return ApiError(404, message, param="key_id", code="key_not_found")
