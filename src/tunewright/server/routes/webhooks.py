"""Webhook endpoints: set, changed and tried by those who have the scope admin, each in their own project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from tunewright.core.errors import DataError, EndpointError
from tunewright.server import outgoing
from tunewright.server import webhooks as sending
from tunewright.server.background import Background
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.paging import cursor, listed, page
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs
from tunewright.server.wire.webhooks import EndpointChange, EndpointRequest, Rotation, Trial, shown
from tunewright.workspace import ids, webhook_endpoints, webhooks
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import WebhookEndpoint

_PATH = "/v1/webhook_endpoints"


def add(api: APIRouter, front: Front) -> None:
    """/v1/webhook_endpoints and /v1/webhook_event_types, as the official client calls them; and what sends events."""
    place = front.place
    front.background["webhooks"] = sender = Background(
        "webhooks", sending.sender(place, going=lambda: not sender.ending), seconds=sending.LOOK_SECONDS
    )

    @api.get("/v1/webhook_event_types")
    @needs("admin")
    def event_types() -> dict[str, Any]:
        return {"object": "list", "data": list(webhook_endpoints.EVENTS)}

    @api.post(_PATH)
    @needs("admin")
    async def create(request: Request) -> dict[str, Any]:
        asked = parse(EndpointRequest, await request.body())
        return await asyncio.to_thread(_create, place, asked, caller_of(request).project)

    @api.get(_PATH)
    @needs("admin")
    def list_endpoints(request: Request) -> dict[str, Any]:
        asked = cursor(request.query_params, default=20, most=100)
        with place.database.reading() as session:
            where = WebhookEndpoint.project == caller_of(request).project
            rows, more = page(session, WebhookEndpoint, where, **asdict(asked))
        return listed(rows, lambda row: _shown(place, row), has_more=more)

    _add_one(api, place)


def _add_one(api: APIRouter, place: Workspace) -> None:
    """What can be done with one of them."""

    @api.get(f"{_PATH}/{{endpoint_id}}")
    @needs("admin")
    def retrieve(request: Request, endpoint_id: str) -> dict[str, Any]:
        return _shown(place, _held(place, request, endpoint_id))

    @api.post(f"{_PATH}/{{endpoint_id}}")
    @needs("admin")
    async def update(request: Request, endpoint_id: str) -> dict[str, Any]:
        asked = parse(EndpointChange, await request.body())
        return await asyncio.to_thread(_update, place, request, endpoint_id, asked)

    @api.delete(f"{_PATH}/{{endpoint_id}}")
    @needs("admin")
    def delete(request: Request, endpoint_id: str) -> dict[str, Any]:
        with place.database.writing() as session:
            webhook_endpoints.remove(session, _found(session, request, endpoint_id))
        return {"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True}

    @api.post(f"{_PATH}/{{endpoint_id}}/rotate_secret")
    @needs("admin")
    async def rotate(request: Request, endpoint_id: str) -> dict[str, Any]:
        asked = parse(Rotation, await request.body() or b"{}")
        keep = bool(asked.keep_old_secret_active_for_24_hours)
        row = await asyncio.to_thread(
            _changed, place, request, endpoint_id, lambda row: webhook_endpoints.rotate(row, keep_old=keep)
        )
        return await asyncio.to_thread(_shown, place, row, whole=True)

    @api.post(f"{_PATH}/{{endpoint_id}}/test")
    @needs("admin")
    async def test(request: Request, endpoint_id: str) -> dict[str, Any]:
        asked = parse(Trial, await request.body())
        row = await asyncio.to_thread(_held, place, request, endpoint_id)
        status = await _tried(place, row, asked.event_type)
        about = {"webhook_endpoint_id": row.id, "event_type": asked.event_type, "status_code": status}
        return {"object": "webhook_endpoint.test", "success": True, **about}


def _create(place: Workspace, asked: EndpointRequest, project: str) -> dict[str, Any]:
    _check(place, asked.url)
    with place.database.writing() as session:
        row = webhook_endpoints.create(
            place, session, name=asked.name, url=asked.url, events=asked.event_types, project=project
        )
    return _shown(place, row, whole=True)


def _update(place: Workspace, request: Request, endpoint_id: str, asked: EndpointChange) -> dict[str, Any]:
    values: dict[str, Any] = {"name": asked.name, "url": asked.url}
    values["events"] = asked.event_types and list(dict.fromkeys(asked.event_types))
    given = {name: value for name, value in values.items() if value is not None}
    if asked.url is not None:
        _check(place, asked.url)
    row = _changed(place, request, endpoint_id, lambda row: webhook_endpoints.change(row, **given))
    return _shown(place, row)


async def _tried(place: Workspace, row: WebhookEndpoint, type: str) -> int:
    """Send an event that tells of nothing; the status that was answered."""
    address = await asyncio.to_thread(sending.address_of, place, row)
    event = webhooks.event(
        type, {"id": ids.new("ftjob-test-" if "job" in type else "evalrun_test_")}, ids.new("evt_test_")
    )
    try:
        return await sending.post(address, event)
    except EndpointError as error:
        message = f"Nothing was told to {row.url[:200]}: {error}"
        raise ApiError(400, message, param="url", code="webhook_unreachable") from None


def _check(place: Workspace, url: str) -> None:
    try:
        outgoing.check(url, inside=place.config.webhooks_inside)
    except DataError as error:
        raise ApiError(400, str(error), param="url", code="invalid_value") from None


def _shown(place: Workspace, row: WebhookEndpoint, *, whole: bool = False) -> dict[str, Any]:
    return shown(row, webhook_endpoints.secrets_of(place, row)[0], whole=whole)


def _changed(
    place: Workspace, request: Request, endpoint_id: str, change: Callable[[WebhookEndpoint], None]
) -> WebhookEndpoint:
    with place.database.writing() as session:
        row = _found(session, request, endpoint_id)
        change(row)
    return row


def _held(place: Workspace, request: Request, endpoint_id: str) -> WebhookEndpoint:
    with place.database.reading() as session:
        return _found(session, request, endpoint_id)


def _found(session: Any, request: Request, endpoint_id: str) -> WebhookEndpoint:
    row = webhook_endpoints.find(session, endpoint_id, project=caller_of(request).project)
    if row is None:
        message = f"No webhook endpoint '{endpoint_id[:80]}' in this project."
        raise ApiError(404, message, param="webhook_endpoint_id", code="webhook_endpoint_not_found")
    return row
