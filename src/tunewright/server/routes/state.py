"""How the server is: for load balancers and for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError
from tunewright.server.routing import needs
from tunewright.workspace import jobs
from tunewright.workspace.tables import DEFAULT_PROJECT


def add(api: APIRouter, front: Front) -> None:
    """/healthz and /metrics."""

    @api.get("/healthz")
    @needs("nothing")
    async def health() -> dict[str, Any]:
        return {"status": "ok", **front.models.load()}

    @api.get("/metrics")
    @needs("admin")
    def metrics(request: Request) -> Response:
        if caller_of(request).project != DEFAULT_PROJECT:
            message = f"The metrics tell of all projects. Ask with a key of the project '{DEFAULT_PROJECT}'."
            raise ApiError(404, message, code="not_found")
        return Response(front.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    def gauges() -> dict[tuple[str, str, str], Mapping[str, float]]:
        found: dict[tuple[str, str, str], Mapping[str, float]] = {
            (name, what, ""): {"": value} for name, (what, value) in front.models.figures().items()
        }
        if front.workspace is not None:
            with front.workspace.database.reading() as session:
                found["jobs", "Fine-tuning jobs by state", "state"] = jobs.by_status(session)
        return found

    front.metrics.watch(gauges)
