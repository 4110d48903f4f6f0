"""Which models there are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from tunewright.server.front import Front
from tunewright.server.routing import needs


def add(api: APIRouter, front: Front) -> None:
    """/v1/models."""

    @api.get("/v1/models")
    @needs("infer")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": await front.models.listing(), "has_more": False}

    @api.get("/v1/models/{name:path}")
    @needs("infer")
    async def one_model(name: str) -> dict[str, Any]:
        for model in await front.models.listing():
            if model["id"] == name:
                return model
        raise front.models.no_model(name)
