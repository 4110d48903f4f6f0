"""What the last looks at the traffic of releases found; the schedule of looks is kept going beside it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select

from tunewright.server.background import Background
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.monitoring import Schedule
from tunewright.server.routing import needs
from tunewright.workspace.tables import DEFAULT_PROJECT, Model

SECONDS = 5.0  # between two steps of the schedule


def add(api: APIRouter, front: Front) -> None:
    """/v1/monitor."""
    schedule = Schedule(front.place)
    front.background["monitor"] = Background("monitor", schedule.step, seconds=SECONDS, at_end=schedule.stop)
    front.metrics.watch(schedule.gauges)

    @api.get("/v1/monitor")
    @needs("admin")
    def looks(request: Request) -> dict[str, Any]:
        project = caller_of(request).project
        with front.place.database.reading() as session:
            owner = {model.name: model.project for model in session.scalars(select(Model))}
        data = [
            {"object": "monitor.look", "id": one.name, **look}
            for one, look in schedule.last_looks().items()
            if project in ({owner[name] for name in one.names if name in owner} or {DEFAULT_PROJECT})
        ]
        return {"object": "list", "data": data, "has_more": False}
