"""Aliases: which releases a name sends requests to, and in what shares. A change is in force with its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request

from tunewright.core.errors import NotThere, TunewrightError
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs
from tunewright.server.wire.aliases import Change, Promoting, Setting, shown
from tunewright.workspace.alias_changes import Aliases
from tunewright.workspace.tables import Alias


def add(api: APIRouter, front: Front) -> None:
    """/v1/aliases."""

    def of(request: Request) -> Aliases:
        caller = caller_of(request)
        return Aliases(front.place, project=caller.project, by=caller.key_id, names=front.models.names)

    async def changed(change: Callable[[], Alias], *, param: str | None) -> dict[str, Any]:
        with _told(param):
            row = await asyncio.to_thread(change)
        front.models.forget()
        return shown(row)

    @api.post("/v1/aliases")
    @needs("admin")
    async def set_alias(request: Request) -> dict[str, Any]:
        asked = parse(Setting, await request.body())
        return await changed(lambda: of(request).set(asked.name, asked.shares, why=asked.why), param="shares")

    @api.get("/v1/aliases")
    @needs("admin")
    def list_aliases(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": [shown(row) for row in of(request).every()], "has_more": False}

    @api.get("/v1/aliases/{name}")
    @needs("admin")
    def one_alias(request: Request, name: str) -> dict[str, Any]:
        with _told(None):
            rows = of(request).history(name)
        return shown(rows[0]) | {"history": [shown(row) for row in rows]}

    @api.post("/v1/aliases/{name}/promote")
    @needs("admin")
    async def promote(request: Request, name: str) -> dict[str, Any]:
        asked = parse(Promoting, await request.body())
        return await changed(lambda: of(request).promote(name, asked.model, why=asked.why), param="model")

    @api.post("/v1/aliases/{name}/rollback")
    @needs("admin")
    async def roll_back(request: Request, name: str) -> dict[str, Any]:
        asked = parse(Change, await request.body() or b"{}")
        return await changed(lambda: of(request).roll_back(name, why=asked.why), param=None)

    @api.delete("/v1/aliases/{name}")
    @needs("admin")
    def remove(request: Request, name: str) -> dict[str, Any]:
        with _told(None):
            of(request).remove(name)
        front.models.forget()
        return {"name": name, "object": "alias", "deleted": True}


@contextmanager
def _told(param: str | None) -> Iterator[None]:
    """What cannot be done, as the API tells it."""
    try:
        yield
    except NotThere as error:
        raise ApiError(404, str(error), param=param, code="not_found") from None
    except TunewrightError as error:
        raise ApiError(400, str(error), param=param, code="invalid_value") from None
