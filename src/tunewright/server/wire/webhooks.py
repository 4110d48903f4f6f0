"""Webhook endpoints on the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tunewright.server.protocol import Body
from tunewright.server.wire.jobs import plain, wrong
from tunewright.workspace.tables import WebhookEndpoint
from tunewright.workspace.webhook_endpoints import EVENTS, PREFIX

_HINT = 4  # characters of a secret's end that tell it from others


def _known(type: str) -> str:
    if type not in EVENTS:
        raise wrong(f"'{type[:80]}' is never sent by this server; the types are {', '.join(EVENTS)}")
    return type


Type = Annotated[str, AfterValidator(_known)]
Types = Annotated[list[Type], Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(plain)]
Address = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(plain)]


class EndpointRequest(Body):
    """POST /v1/webhook_endpoints."""

    name: Name
    url: Address
    event_types: Types


class EndpointChange(Body):
    """POST /v1/webhook_endpoints/{id}: what is given is changed."""

    name: Name | None = None
    url: Address | None = None
    event_types: Types | None = None


class Rotation(Body):
    """POST /v1/webhook_endpoints/{id}/rotate_secret."""

    keep_old_secret_active_for_24_hours: bool | None = None


class Trial(Body):
    """POST /v1/webhook_endpoints/{id}/test."""

    event_type: Type


def shown(row: WebhookEndpoint, secret: str, *, whole: bool = False) -> dict[str, Any]:
    """An endpoint as the API tells it. whole: with its secret, which is told when it is new and never again."""
    told = {
        "id": row.id,
        "object": "webhook_endpoint",
        "created_at": int(row.created),
        "updated_at": int(row.updated),
        "name": row.name,
        "url": row.url,
        "event_types": row.events,
        "signing_secret_hint": f"{PREFIX}...{secret[-_HINT:]}",
    }
    return told | {"signing_secret": secret} if whole else told
