"""Addresses that a project set over the API to be told of its jobs and evals, and the secrets that sign what is sent.

No secret is kept: each is made from the workspace's key (.tunewright/webhooks.key), the address's id and how often its
secret was changed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from tunewright.core import storage
from tunewright.core.errors import NotThere, RunError
from tunewright.workspace import evals, ids
from tunewright.workspace.jobs import ENDED
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Delivery, WebhookEndpoint

EVENTS = (  # types that a project can be told of
    *(f"fine_tuning.job.{end}" for end in ENDED),
    *(f"eval.run.{end}" for end in evals.EVENTS.values()),
)
MOST = 50  # of a project
PREFIX = "whsec_"
OLD_SECONDS = 24 * 3600  # for which the secret before can go on signing


def create(
    place: Workspace, session: Session, *, name: str, url: str, events: Sequence[str], project: str
) -> WebhookEndpoint:
    """Set an address that has been looked at (server/outgoing.py). Raises RunError where a project has too many."""
    place.database.one_at_a_time(session, "webhooks.key")
    held = session.scalar(select(func.count()).where(WebhookEndpoint.project == project)) or 0
    if held >= MOST:
        raise RunError(f"The project has {held} webhook endpoints, and {MOST} are the most. Delete one.")
    if not _key(place).exists():
        storage.write_secret(_key(place), secrets.token_bytes(32))
    now = time.time()
    row = WebhookEndpoint(id=ids.new("we_"), project=project, name=name, url=url, created=now, updated=now, turn=0)
    row.events = list(dict.fromkeys(events))
    session.add(row)
    session.flush()
    return row


def find(session: Session, endpoint_id: str, *, project: str) -> WebhookEndpoint | None:
    """An address of a project by its id, to be changed."""
    mine = (WebhookEndpoint.id == ids.comparable(endpoint_id), WebhookEndpoint.project == project)
    return session.scalar(select(WebhookEndpoint).where(*mine).with_for_update())


def change(row: WebhookEndpoint, **values: str | list[str]) -> None:
    """Change its name, url or events."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    if changed:
        row.updated = time.time()


def rotate(row: WebhookEndpoint, *, keep_old: bool) -> None:
    """Give it a new secret. keep_old: the one before signs too for OLD_SECONDS."""
    now = time.time()
    row.turn += 1
    row.updated = now
    row.old_until = now + OLD_SECONDS if keep_old else None


def remove(session: Session, row: WebhookEndpoint) -> None:
    """Take it away, with what was still to be sent there."""
    session.execute(delete(Delivery).where(Delivery.target == row.id))
    session.delete(row)


def secrets_of(place: Workspace, row: WebhookEndpoint) -> list[str]:
    """What signs events for it, the newest first. Raises NotThere without the workspace's key."""
    turns = [row.turn, row.turn - 1] if row.old_until is not None and row.old_until > time.time() else [row.turn]
    try:
        key = storage.read_bytes(_key(place))
    except FileNotFoundError:
        raise NotThere(
            f"{_key(place)}, of which the secrets of webhook endpoints are made, is gone. Bring it back, or delete the "
            "endpoints and set them anew."
        ) from None
    made = [hmac.new(key, f"{row.id}:{turn}".encode(), hashlib.sha256).digest() for turn in turns]
    return [PREFIX + base64.b64encode(one).decode() for one in made]


def _key(place: Workspace) -> Path:
    return place.state / "webhooks.key"
