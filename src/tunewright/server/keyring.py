"""The keys that open a server: those given at its start, and those of its workspace."""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tunewright.core.errors import DataError
from tunewright.core.spans import DAY_SECONDS
from tunewright.server.budgets import Budget
from tunewright.server.caller import LOCAL, Caller
from tunewright.server.protocol import ApiError
from tunewright.workspace import job_keys, keys
from tunewright.workspace.database import Database
from tunewright.workspace.keys import Limits
from tunewright.workspace.tables import Key

Answer = TypeVar("Answer")

FRESH_SECONDS = 1.0  # how old the knowledge of a key may be: so long a key revoked by another process still opens
WRITING_SECONDS = 1.0  # between two times that use and spending are written down
_HELD = 10_000  # keys in memory


@dataclass(frozen=True)
class Held:
    """A key as it was found in the database, and when."""

    caller: Caller
    expires: float | None
    looked: float


class Keyring:
    """Tells who sent a request. It is asked on the event loop; the database is asked beside it."""

    def __init__(
        self, given: Sequence[str] = (), database: Database | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        """given: keys that may do everything."""
        self.given = [keys.digest(key) for key in given]
        self.database = database
        self.now = now
        self._held: dict[str, Held] = {}
        self._budgets: dict[str, Budget] = {}  # by key id: they outlive what is held
        self._used: dict[str, float] = {}
        self._locked = bool(self.given)  # once it is, it stays so
        self._looked = -FRESH_SECONDS
        self._guard = threading.Lock()

    def any(self) -> bool:
        """Whether there are keys, or were any in the workspace. It reads: not for the event loop."""
        if self.given or self.database is None:
            return bool(self.given)
        with self.database.reading() as session:
            return keys.exist(session)

    async def asks(self, authorization: str) -> bool:
        """Whether a request with this Authorization header is let in by its key alone: all are once there are keys, and
        a job's always, for its project and models. Raises ApiError 503.
        """
        return authorization.startswith(f"Bearer {job_keys.PREFIX}") or await self._is_locked()

    async def _is_locked(self) -> bool:
        if not self._locked and self.database is not None and self.now() - self._looked >= FRESH_SECONDS:
            self._looked = self.now()
            self._locked = await _asked(self.any)
        return self._locked

    async def caller(self, authorization: str, project: str | None) -> Caller:
        """Who has the key of an Authorization header. project: the OpenAI-Project header. Raises ApiError 401, 503."""
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        digest = keys.digest(secret)
        # every given key is compared in full, and both compare digests, so that the time taken tells nothing
        given = [number for number, one in enumerate(self.given, 1) if hmac.compare_digest(digest, one)]
        if scheme.lower() != "bearer":
            raise _unknown(secret)
        if given:
            return in_project(replace(LOCAL, key_id=f"given-{given[0]}"), project)
        held = self._held.get(digest)
        if held is None or self.now() - held.looked >= FRESH_SECONDS:
            held = await _asked(lambda: self._look(digest)) if self.database is not None else None
        if held is None or (held.expires is not None and held.expires <= self.now()):
            raise _unknown(secret)
        with self._guard:
            self._used[held.caller.key_id] = self.now()
        if project is not None and project != held.caller.project:
            message = "The OpenAI-Project header is not the project of this API key. Leave it out, or send that one."
            raise ApiError(401, message, code="mismatched_project")
        return held.caller

    def forget(self) -> None:
        """Ask the database again at the next request: a key was made or revoked here."""
        self._held = {}
        self._looked = -FRESH_SECONDS

    def write(self) -> None:
        """Write down what keys did since the last time. Called beside the event loop, and at the end."""
        if self.database is None:
            return
        with self._guard:
            used, self._used = self._used, {}
        taken = {key_id: budget.take_unwritten() for key_id, budget in list(self._budgets.items())}
        spent = {(key_id, day): tokens for key_id, days in taken.items() for day, tokens in days.items()}
        if not used and not spent:
            return
        try:
            with self.database.writing() as session:
                keys.record(session, used=used, spent=spent)
        except SQLAlchemyError:
            for (key_id, day), tokens in spent.items():
                self._budgets[key_id].put_unwritten(day, tokens)
            raise

    def _look(self, digest: str) -> Held | None:
        assert self.database is not None
        with self.database.reading() as session:
            row = keys.find(session, digest)
            if row is None and (of_job := job_keys.find(session, digest)) is not None:
                may_ask = tuple(of_job.models)
                return self._hold(digest, Caller(of_job.job_id, of_job.project, ("infer",), may_ask, of_job=True))
            if row is None or not keys.usable(row, self.now()):
                self._held.pop(digest, None)
                return None
            caller = self._caller(session, row)
        return self._hold(digest, caller, row.expires)

    def _hold(self, digest: str, caller: Caller, expires: float | None = None) -> Held:
        if len(self._held) >= _HELD:
            self._held = {}
        self._held[digest] = Held(caller, expires, self.now())
        return self._held[digest]

    def _caller(self, session: Session, row: Key) -> Caller:
        """Who has a key, with its one budget in this process."""
        limits = Limits(
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            tokens_per_day=row.tokens_per_day,
        )
        budget = self._budgets.get(row.id)
        if budget is None:
            spent = keys.spent_on(session, row.id, int(self.now() // DAY_SECONDS))
            budget = self._budgets.setdefault(row.id, Budget(limits, spent_today=spent, now=self.now))
        return Caller(row.id, row.project, tuple(row.scopes), tuple(row.models), budget=budget)

    def owner(self, key_id: str, project: str) -> Caller | None:
        """Who made something in a project with a key ("": without one), as they may ask now; None where the key opens
        no more. Reads the database.
        """
        given = [f"given-{number}" for number in range(1, len(self.given) + 1)]
        if key_id == "" or key_id in given:
            return replace(LOCAL, key_id=key_id, project=project)
        if self.database is None:
            return None
        with self.database.reading() as session:
            row = keys.named(session, key_id, project=project)
            return self._caller(session, row) if row is not None and keys.usable(row, self.now()) else None


def in_project(caller: Caller, project: str | None) -> Caller:
    """A caller who is bound to no project, in that of the OpenAI-Project header. Raises ApiError 400."""
    if project is None or project == caller.project:
        return caller
    try:
        keys.check_project(project)
    except DataError as error:
        raise ApiError(400, str(error), param="OpenAI-Project", code="invalid_value") from None
    return replace(caller, project=project)


async def _asked(question: Callable[[], Answer]) -> Answer:
    try:
        return await asyncio.to_thread(question)
    except SQLAlchemyError:
        message = "The server's database does not answer, so keys cannot be checked. Try again in a moment."
        raise ApiError(503, message, type="server_error", headers={"retry-after": "2"}) from None


def _unknown(secret: str) -> ApiError:
    what = "Incorrect API key provided." if secret else "You did not provide an API key."
    headers = {"www-authenticate": "Bearer"}
    return ApiError(401, f"{what} Send it as 'Authorization: Bearer KEY'.", code="invalid_api_key", headers=headers)
