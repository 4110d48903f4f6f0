"""Sends events to the owner's addresses, signed as Standard Webhooks says, again and again until one is taken."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Sequence

from fastapi import APIRouter

from tunewright.core import endpoint
from tunewright.core.errors import RecipeError
from tunewright.server.background import Background
from tunewright.server.front import Front
from tunewright.workspace import webhooks
from tunewright.workspace.config import Webhook
from tunewright.workspace.database import Database
from tunewright.workspace.tables import Delivery

log = logging.getLogger("tunewright.server")

LOOK_SECONDS = 5
TIMEOUT_SECONDS = 10  # for an address to answer
_PREFIX = "whsec_"

Post = Callable[[str, bytes, dict[str, str]], int]


def add(api: APIRouter, front: Front) -> None:
    """The work that sends events; no route."""
    hooks = front.place.config.webhooks
    secrets = {hook.url: secret_of(hook) for hook in hooks}
    database = front.place.database
    front.background["webhooks"] = background = Background(
        "webhooks", lambda: send(database, hooks, secrets, going=lambda: not background.ending), seconds=LOOK_SECONDS
    )


def secret_of(hook: Webhook) -> bytes:
    """What signs the events for an address. Raises RecipeError, EndpointError."""
    text = endpoint.secret(hook.secret, of=f"secret of the webhook {hook.url}")
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise RecipeError(
            f"webhooks: the secret of {hook.url} has no base64 behind {_PREFIX}. Copy it again."
        ) from None


def send(
    database: Database,
    hooks: Sequence[Webhook],
    secrets: dict[str, bytes],
    *,
    post: Post | None = None,
    going: Callable[[], bool] = lambda: True,
) -> None:
    """Send what is due. A row that was answered with 2xx is done; all others come again, at most for three days."""
    with database.writing() as session:
        webhooks.spread(session, hooks)
    while going():
        with database.writing() as session:
            row = webhooks.take(session, list(secrets))
        if row is None:
            return
        failure = _tried(row, secrets[row.url], post or _post)
        with database.writing() as session:
            webhooks.settle(session, row, failure)
        log.log(
            logging.WARNING if failure else logging.INFO,
            "webhook %s to %s: %s (try %s)", row.event_id, row.url, failure or "delivered", row.attempts,
        )  # fmt: skip


def headers(event_id: str, seconds: int, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of an event, signed as https://github.com/standard-webhooks/standard-webhooks (v1, symmetric)."""
    signed = f"{event_id}.{seconds}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "user-agent": "tunewright",
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }


def _tried(row: Delivery, secret: bytes, post: Post) -> str | None:
    """Why an event was not taken; None where it was."""
    import httpx

    body = json.dumps(row.body, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        status = post(row.url, body, headers(row.event_id, int(time.time()), body, secret))
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"[:300]
    return None if 200 <= status < 300 else f"answered {status}"


def _post(url: str, body: bytes, sent: dict[str, str]) -> int:
    import httpx

    # a redirect would lead to an address that the owner did not name, and so might a proxy of the environment
    with (
        httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream("POST", url, content=body, headers=sent) as answer,
    ):
        return answer.status_code
