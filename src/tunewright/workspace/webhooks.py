"""Events that the owner's addresses are told of: put down with the change that they tell, sent by server/webhooks.py.

An event is first a row without an address. The server makes of it a row for each address of the config that wants its
type, so that what changes a job need not know the config.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from tunewright.workspace.config import Webhook
from tunewright.workspace.tables import Delivery

GIVEN_UP_SECONDS = 72 * 3600  # from the event on
LEASE_SECONDS = 60  # for which a row is with one sender
KEPT_SECONDS = 30 * 86400  # that a row is kept after its event, to be looked at
_FIRST_PAUSE, _LONGEST_PAUSE = 5, 3600


def announce(session: Session, type: str, data: dict[str, Any], event_id: str) -> None:
    """Tell of an event, in the transaction that makes it. event_id: the same for the same event told twice."""
    if session.scalar(select(Delivery.number).where(Delivery.event_id == event_id, Delivery.url == "")) is None:
        now = time.time()
        body = {"id": event_id, "object": "event", "created_at": int(now), "type": type, "data": data}
        session.add(Delivery(event_id=event_id, url="", body=body, created=now, next_try=now))


def spread(session: Session, hooks: Sequence[Webhook]) -> None:
    """Make rows for the addresses that want the events which came; one that nobody wants is done."""
    now = time.time()
    fresh = session.scalars(
        select(Delivery).where(Delivery.url == "", Delivery.delivered.is_(None)).with_for_update()
    ).all()
    for event in fresh:
        for url in dict.fromkeys(hook.url for hook in hooks if wants(hook, event.body["type"])):
            row = Delivery(event_id=event.event_id, url=url, body=event.body, created=event.created, next_try=now)
            session.add(row)
        event.delivered = now
    session.execute(delete(Delivery).where(Delivery.created < now - KEPT_SECONDS))


def wants(hook: Webhook, type: str) -> bool:
    """Whether an address is told of events of a type."""
    return any(fnmatch.fnmatchcase(type, pattern) for pattern in hook.events)


def take(session: Session, urls: Sequence[str]) -> Delivery | None:
    """The next row that is due for one of some addresses, for LEASE_SECONDS with this caller; None where none is."""
    now = time.time()
    due = select(Delivery).where(
        Delivery.url.in_(urls),
        Delivery.delivered.is_(None),
        Delivery.next_try <= now,
        Delivery.created > now - GIVEN_UP_SECONDS,
    )
    row = session.scalar(due.order_by(Delivery.next_try).limit(1).with_for_update(skip_locked=True))
    if row is not None:
        row.attempts += 1
        row.next_try = now + LEASE_SECONDS
    return row


def settle(session: Session, row: Delivery, failure: str | None) -> None:
    """Write down how a try ended: delivered, or to be tried again after a pause that doubles."""
    now = time.time()
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(row.attempts - 1, 20))
    values: dict[str, Any] = {"failure": failure, "next_try": now + pause}
    if failure is None:
        values = {"failure": None, "delivered": now}
    session.execute(update(Delivery).where(Delivery.number == row.number).values(**values))
