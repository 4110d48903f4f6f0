"""Events that addresses are told of: put down with the change that they tell, sent by server/webhooks.py.

An event is first a row without a target. The server makes of it a row for each address of the config that wants its
type, and for each that its project set over the API, so that what changes a job need not know of either.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from tunewright.core.spans import DAY_SECONDS
from tunewright.workspace.config import Webhook, named
from tunewright.workspace.tables import Delivery, WebhookEndpoint

GIVEN_UP_SECONDS = 72 * 3600  # from the event on
LEASE_SECONDS = 60  # for which a row is with one sender
KEPT_SECONDS = 30 * DAY_SECONDS  # that a row is kept after its event, to be looked at
_FIRST_PAUSE, _LONGEST_PAUSE = 5, 3600


def event(type: str, data: dict[str, Any], event_id: str) -> dict[str, Any]:
    """What an address is sent."""
    return {"id": event_id, "object": "event", "created_at": int(time.time()), "type": type, "data": data}


def announce(session: Session, type: str, data: dict[str, Any], event_id: str, *, project: str = "") -> None:
    """Tell of an event, in the transaction that makes it. event_id: the same for the same event told twice. project:
    whose own addresses are told beside the owner's.
    """
    if session.scalar(select(Delivery.number).where(Delivery.event_id == event_id, Delivery.target == "")) is None:
        now = time.time()
        row = Delivery(event_id=event_id, target="", project=project, created=now, next_try=now)
        row.body = event(type, data, event_id)
        session.add(row)


def spread(session: Session, hooks: Sequence[Webhook]) -> None:
    """Make rows for the addresses that want the events which came; one that nobody wants is done."""
    now = time.time()
    fresh = session.scalars(
        select(Delivery).where(Delivery.target == "", Delivery.delivered.is_(None)).with_for_update()
    ).all()
    for one in fresh:
        for target in dict.fromkeys(_targets(session, one, hooks)):
            row = Delivery(event_id=one.event_id, target=target, body=one.body, created=one.created, next_try=now)
            session.add(row)
        one.delivered = now
    session.execute(delete(Delivery).where(Delivery.created < now - KEPT_SECONDS))


def _targets(session: Session, one: Delivery, hooks: Sequence[Webhook]) -> Iterator[str]:
    type = one.body["type"]
    yield from (hook.url for hook in hooks if named(hook.events, type))
    for endpoint in session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.project == one.project)):
        if type in endpoint.events:
            yield endpoint.id


def take(session: Session, urls: Collection[str], *, most: int) -> list[Delivery]:
    """The next rows that are due, each to another address, for LEASE_SECONDS with this caller. urls: the addresses of
    the config that are known.
    """
    taken: list[Delivery] = []
    while len(taken) < most and (row := _next(session, urls, {one.target for one in taken})) is not None:
        row.attempts += 1
        row.next_try = time.time() + LEASE_SECONDS
        taken.append(row)
    return taken


def _next(session: Session, urls: Collection[str], others: Collection[str]) -> Delivery | None:
    now = time.time()
    due = select(Delivery).where(
        or_(Delivery.target.in_(urls), Delivery.target.in_(select(WebhookEndpoint.id))),
        Delivery.target.not_in(others),
        Delivery.delivered.is_(None),
        Delivery.next_try <= now,
        Delivery.created > now - GIVEN_UP_SECONDS,
    )
    return session.scalar(due.order_by(Delivery.next_try).limit(1).with_for_update(skip_locked=True))


def settle(session: Session, row: Delivery, failure: str | None) -> None:
    """Write down how a try ended: delivered, or to be tried again after a pause that doubles. Until then nothing else
    is sent to an address that failed: one that does not answer must not keep the others waiting for each of its events.
    """
    now = time.time()
    if failure is None:
        done = update(Delivery).where(Delivery.number == row.number)
        session.execute(done.values(failure=None, delivered=now))
        return
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(row.attempts - 1, 20))
    session.execute(
        update(Delivery)
        .where(Delivery.target == row.target, Delivery.delivered.is_(None), Delivery.next_try < now + pause)
        .values(next_try=now + pause)
    )
    tried = update(Delivery).where(Delivery.number == row.number)
    session.execute(tried.values(failure=failure, next_try=now + pause))
