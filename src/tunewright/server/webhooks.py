"""Sends events to addresses, signed as Standard Webhooks says, again and again until one is taken."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import select

from tunewright.core import endpoint
from tunewright.core.errors import EndpointError, NotThere, RecipeError
from tunewright.server import outgoing
from tunewright.workspace import webhook_endpoints, webhooks
from tunewright.workspace.config import Webhook
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery, WebhookEndpoint
from tunewright.workspace.webhook_endpoints import PREFIX

log = logging.getLogger("tunewright.server")

LOOK_SECONDS = 5
AT_ONCE = 16  # addresses that are told side by side: one that does not answer keeps few others waiting


@dataclass(frozen=True)
class Address:
    """Where events are sent. secrets: what signs them, each once. inside: whether it may be on this machine or in its
    network.
    """

    url: str
    secrets: tuple[bytes, ...] = field(repr=False)
    inside: bool = True


def sender(place: Workspace, *, going: Callable[[], bool]) -> Callable[[], None]:
    """What sends to the addresses of the config and of the projects. Raises RecipeError, EndpointError."""
    hooks = place.config.webhooks
    named = {hook.url: Address(hook.url, (secret_of(hook),)) for hook in hooks}
    return partial(send, place, hooks, named, going=going)


def secret_of(hook: Webhook) -> bytes:
    """What signs the events for an address. Raises RecipeError, EndpointError."""
    text = endpoint.secret(hook.secret, of=f"secret of the webhook {hook.url}")
    try:
        return _key(text)
    except binascii.Error:
        raise RecipeError(f"webhooks: the secret of {hook.url} has no base64 behind {PREFIX}. Copy it again.") from None


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        return secret.encode()
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


def address_of(place: Workspace, row: WebhookEndpoint) -> Address:
    """Where events are sent that a project wants. Raises NotThere without the workspace's key."""
    secrets = tuple(_key(secret) for secret in webhook_endpoints.secrets_of(place, row))
    return Address(row.url, secrets, inside=place.config.webhooks_inside)


def send(
    place: Workspace,
    hooks: Sequence[Webhook],
    named: Mapping[str, Address],
    *,
    going: Callable[[], bool] = lambda: True,
) -> None:
    """Send what is due. A row that was answered with 2xx is done; all others come again, at most for three days."""
    with place.database.writing() as session:
        webhooks.spread(session, hooks)
    while going():
        with place.database.writing() as session:
            rows = webhooks.take(session, named, most=AT_ONCE)
        if not rows:
            return
        failures = asyncio.run(_tried_together(place, rows, named))
        with place.database.writing() as session:
            for row, failure in zip(rows, failures, strict=True):
                webhooks.settle(session, row, failure)
        for row, failure in zip(rows, failures, strict=True):
            level, told = (logging.WARNING, failure) if failure else (logging.INFO, "delivered")
            log.log(level, "webhook %s to %s: %s (try %s)", row.event_id, row.target, told, row.attempts)


async def post(address: Address, event: dict[str, Any]) -> int:
    """The status that an address answers an event with. Raises EndpointError."""
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    signed = headers(event["id"], int(time.time()), body, *address.secrets)
    return await outgoing.post(address.url, body, signed, inside=address.inside)


def headers(event_id: str, seconds: int, body: bytes, *secrets: bytes) -> dict[str, str]:
    """The headers of an event, signed as https://github.com/standard-webhooks/standard-webhooks (v1, symmetric): one
    signature for each secret.
    """
    signed = f"{event_id}.{seconds}.".encode() + body
    made = [base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "tunewright",
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{one}" for one in made),
    }


async def _tried_together(place: Workspace, rows: Sequence[Delivery], named: Mapping[str, Address]) -> list[str | None]:
    return list(await asyncio.gather(*(_tried(place, row, named) for row in rows)))


async def _tried(place: Workspace, row: Delivery, named: Mapping[str, Address]) -> str | None:
    """Why an event was not taken; None where it was."""
    try:
        address = named.get(row.target) or _of_project(place, row.target)
        status = await post(address, row.body)
    except (EndpointError, NotThere) as error:
        return str(error)[:300]
    return None if 200 <= status < 300 else f"answered {status}"


def _of_project(place: Workspace, endpoint_id: str) -> Address:
    with place.database.reading() as session:
        row = session.scalar(select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))
    if row is None:
        raise NotThere("the address was deleted while it was told")
    return address_of(place, row)
