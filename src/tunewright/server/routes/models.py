"""Which models there are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.routing import needs


def add(api: APIRouter, front: Front) -> None:
    """/v1/models."""

    @api.get("/v1/models")
    @needs("infer")
    async def list_models(request: Request) -> dict[str, Any]:
        caller = caller_of(request)
        data = [model for model in await front.models.listing() if caller.may_ask(model["id"])]
        return {"object": "list", "data": data, "has_more": False}

    @api.get("/v1/models/{name:path}")
    @needs("infer")
    async def one_model(request: Request, name: str) -> dict[str, Any]:
        for model in await front.models.listing():
            if model["id"] == name and caller_of(request).may_ask(name):
                return model
        raise front.models.no_model(name)
