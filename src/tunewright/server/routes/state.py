"""How the server is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from tunewright.server.front import Front
from tunewright.server.routing import needs


def add(api: APIRouter, front: Front) -> None:
    """/health."""

    @api.get("/health")
    @needs("nothing")
    async def health() -> dict[str, Any]:
        return {"status": "ok", **front.models.load()}
