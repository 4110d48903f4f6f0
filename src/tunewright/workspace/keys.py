"""API keys in the database: made and shown once, found by their digest, revoked, and what they spend in a day.

A key is `tw-` and 24 characters (142 bits) that nobody can guess, so its plain SHA-256 is kept: there is nothing for a
slow hash to protect. Rows are never deleted: a workspace that had a key once asks for one ever after.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.workspace import ids
from tunewright.workspace.tables import DEFAULT_PROJECT, Key, Spending

Scope = Literal["infer", "train", "admin"]
SCOPES: tuple[Scope, ...] = ("infer", "train", "admin")
PREFIX = "tw-"
PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NAME_LENGTH = 128
_MODELS = 100
_MOST = 2**53  # what every JSON reader can hold
_SHOWN = 7  # characters of a key that stay readable: 4 of them random


@dataclass(frozen=True)
class Created:
    """A new key's row, and the key itself, which is nowhere else."""

    row: Key
    secret: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a key may ask for. Tokens are those of prompts and answers; None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    def __post_init__(self) -> None:
        """Raises DataError for a limit that lets nothing through."""
        for name, value in vars(self).items():
            if value is not None and not 1 <= value <= _MOST:
                raise DataError(
                    f"{name} is {value}; it must be from 1 to {_MOST:,}. Leave it out for no limit, or revoke the key."
                )


NO_LIMITS = Limits()


def create(
    session: Session,
    *,
    name: str,
    project: str = DEFAULT_PROJECT,
    scopes: Sequence[str] = ("infer",),
    models: Sequence[str] = (),
    limits: Limits = NO_LIMITS,
    expires: float | None = None,
) -> Created:
    """Make a key. models: names or globs (`ft:nano:*`) that it may ask; none: all of its project. expires: seconds
    since 1970. Raises DataError or NotThere (a scope) for what a key cannot have.
    """
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
        raise DataError(
            f"A key's name is 1 to {_NAME_LENGTH} printable characters, found {name[:40]!r}. Say who will use the key."
        )
    check_project(project)
    if not scopes:
        raise DataError(f"The key has no scope. Give one or more of {', '.join(SCOPES)}.")
    for scope in scopes:
        if scope not in SCOPES:
            raise NotThere(unknown("scope", scope[:40], SCOPES))
    if len(models) > _MODELS or any(not 1 <= len(model) <= 512 or not model.isprintable() for model in models):
        raise DataError(f"A key has at most {_MODELS} models, each of 1 to 512 printable characters. Use globs.")
    if expires is not None and not time.time() < expires < _MOST:
        raise DataError("The key would be expired at once. Give a time that is still to come.")
    secret = ids.new(PREFIX)
    row = Key(
        id=ids.new("key_"),
        name=name,
        project=project,
        digest=digest(secret),
        shown=secret[:_SHOWN],
        scopes=[scope for scope in SCOPES if scope in scopes],
        models=list(dict.fromkeys(models)),
        expires=expires,
        **vars(limits),
    )
    session.add(row)
    session.flush()
    return Created(row, secret)


def check_project(project: str) -> None:
    """Raises DataError for a name that no project can have."""
    if not PROJECT.fullmatch(project):
        raise DataError(
            f"'{project[:80]!s}' cannot be a project's name. Use 1 to 64 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit."
        )


def digest(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def find(session: Session, secret_digest: str) -> Key | None:
    """The key of this digest, be it good for use or not."""
    row = session.scalar(select(Key).where(Key.digest == secret_digest))
    return row if row is not None and hmac.compare_digest(row.digest, secret_digest) else None


def usable(row: Key, now: float) -> bool:
    """Whether it opens at that time."""
    return row.revoked is None and (row.expires is None or row.expires > now)


def exist(session: Session) -> bool:
    """Whether the workspace ever had a key."""
    return session.scalar(select(Key.number).limit(1)) is not None


def listed(session: Session, *, project: str | None = None) -> Sequence[Key]:
    """Keys in the order they came: of a project, or all."""
    query = select(Key).order_by(Key.number)
    return session.scalars(query if project is None else query.where(Key.project == project)).all()


def named(session: Session, key_id: str, *, project: str | None = None) -> Key | None:
    """A key by its id: of a project, or of any."""
    query = select(Key).where(Key.id == ids.comparable(key_id))
    return session.scalar(query if project is None else query.where(Key.project == project))


def revoke(session: Session, key_id: str, *, project: str | None = None) -> Key | None:
    """End a key, by its id; None when it is not there. It stays in the list. A second time changes nothing."""
    row = named(session, key_id, project=project)
    if row is not None and row.revoked is None:
        row.revoked = time.time()
        session.flush()
    return row


# --- what keys do, written down every now and then ---


def record(session: Session, *, used: Mapping[str, float], spent: Mapping[tuple[str, int], int]) -> None:
    """Add to what is known: when each key was last used, and tokens by key and day (days since 1970, UTC)."""
    for key_id, moment in used.items():
        session.execute(update(Key).where(Key.id == key_id).values(used=moment))
    for (key_id, day), tokens in spent.items():
        where = (Spending.key_id == key_id, Spending.day == day)
        added = update(Spending).where(*where).values(tokens=Spending.tokens + tokens)
        if session.execute(added.returning(Spending.number)).first() is None:
            session.add(Spending(key_id=key_id, day=day, tokens=tokens))


def spent_on(session: Session, key_id: str, day: int) -> int:
    """Tokens that a key spent on a day, as far as they are written down."""
    return session.scalar(select(Spending.tokens).where(Spending.key_id == key_id, Spending.day == day)) or 0
