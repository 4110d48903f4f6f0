"""What a key may ask for in a minute and a day: taken before the work begins, corrected when it is over.

A minute's budget is a bucket that fills evenly and holds a minute's worth. A day's budget begins anew at midnight UTC.
The event loop alone takes from it; another thread writes down what was taken.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tunewright.core.spans import DAY_SECONDS
from tunewright.server.protocol import ApiError
from tunewright.workspace.keys import NO_LIMITS, Limits

_RETRIED = 60  # seconds that a client is asked to wait at most; the official client does not wait longer


@dataclass
class Bucket:
    """A minute's allowance. What an answer needed beyond its reservation is owed: the level goes below 0."""

    limit: int
    now: Callable[[], float]
    level: float = field(init=False)
    _seen: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self._seen = float(self.limit), self.now()

    def fill(self) -> float:
        """What is there by now."""
        now = self.now()
        self.level = min(self.limit, self.level + max(0.0, now - self._seen) * self.limit / 60)
        self._seen = now
        return self.level

    def seconds_until(self, amount: float) -> float:
        """How long until so much is there."""
        return max(0.0, (amount - self.fill()) * 60 / self.limit)


class Budget:
    """The allowances of one key."""

    def __init__(
        self, limits: Limits = NO_LIMITS, *, spent_today: int = 0, now: Callable[[], float] = time.time
    ) -> None:
        """spent_today: tokens of this day that are known from before."""
        self.now = now
        self.limits = limits
        self.requests = Bucket(limits.requests_per_minute, now) if limits.requests_per_minute else None
        self.tokens = Bucket(limits.tokens_per_minute, now) if limits.tokens_per_minute else None
        self.per_day = limits.tokens_per_day
        self._unwritten: dict[int, int] = {}  # by day: tokens that the database does not know of yet
        self._guard = threading.Lock()
        self._day = self.today
        self._spent = spent_today

    @property
    def today(self) -> int:
        """Days since 1970, UTC."""
        return int(self.now() // DAY_SECONDS)

    def count_request(self) -> None:
        """Take one request. Raises ApiError 429."""
        if self.requests is None:
            return
        if self.requests.fill() < 1:
            raise _refused("requests", "minute", self.requests.limit, 1, self.requests.seconds_until(1))
        self.requests.level -= 1

    def reserve(self, tokens: int) -> Reservation:
        """Take the tokens that an answer may need. Raises ApiError 429."""
        if self.tokens is not None and self.tokens.fill() < tokens:
            raise _refused("tokens", "minute", self.tokens.limit, tokens, self.tokens.seconds_until(tokens))
        if self.per_day is not None and self._left_today() < tokens:
            until_midnight = DAY_SECONDS - self.now() % DAY_SECONDS
            raise _refused("tokens", "day", self.per_day, tokens, until_midnight)
        self._spend(tokens)
        return Reservation(self, tokens)

    def _left_today(self) -> int:
        assert self.per_day is not None
        if self._day != self.today:
            self._day, self._spent = self.today, 0
        return self.per_day - self._spent

    def _spend(self, tokens: int, *, day: int | None = None) -> None:
        """Count tokens, or with a negative number give them back to the day they were taken from."""
        if self.tokens is not None:
            self.tokens.level = min(self.tokens.limit, self.tokens.fill() - tokens)
        if self.per_day is not None:
            self._left_today()
            day = self._day if day is None else day
            self.put_unwritten(day, tokens)
            self._spent += tokens if day == self._day else 0

    def put_unwritten(self, day: int, tokens: int) -> None:
        """Remember tokens that are to be written down."""
        with self._guard:
            self._unwritten[day] = self._unwritten.get(day, 0) + tokens

    def take_unwritten(self) -> dict[int, int]:
        """What is to be written down, by day; from now on it is the caller's."""
        with self._guard:
            taken, self._unwritten = self._unwritten, {}
        return {day: tokens for day, tokens in taken.items() if tokens}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The API's x-ratelimit headers for what is limited; of two limits on tokens, that of which less is left."""
        told: list[tuple[str, int, float, float]] = []  # what, limit, left, seconds until it is whole again
        if self.requests is not None:
            left = self.requests.fill()
            told.append(("requests", self.requests.limit, left, self.requests.seconds_until(self.requests.limit)))
        of_tokens: list[tuple[str, int, float, float]] = []
        if self.tokens is not None:
            left = self.tokens.fill()
            of_tokens.append(("tokens", self.tokens.limit, left, self.tokens.seconds_until(self.tokens.limit)))
        if self.per_day is not None:
            of_tokens.append(("tokens", self.per_day, self._left_today(), DAY_SECONDS - self.now() % DAY_SECONDS))
        told += sorted(of_tokens, key=lambda one: one[2])[:1]
        return [
            (f"x-ratelimit-{name}-{what}".encode(), value.encode())
            for what, limit, left, seconds in told
            for name, value in (
                ("limit", str(limit)),
                ("remaining", str(max(0, math.floor(left)))),
                ("reset", duration(seconds)),
            )
        ]


@dataclass
class Reservation:
    """Tokens taken for an answer that is being written."""

    budget: Budget
    tokens: int
    day: int = field(init=False)
    settled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.day = self.budget.today

    def settle(self, spent: int) -> None:
        """Put back what was not needed, once."""
        if not self.settled:
            self.settled = True
            self.budget._spend(spent - self.tokens, day=self.day)


def _refused(what: str, per: str, limit: int, asked: int, seconds: float) -> ApiError:
    if asked > limit:
        message = f"The request needs {asked:,} {what}; this key may use {limit:,} a {per}. Ask for a shorter answer."
        headers = {"x-should-retry": "false"}
    else:
        message = (
            f"This key has used up its {limit:,} {what} a {per}: {asked:,} more were asked for. "
            f"Try again in {duration(seconds)}."
        )
        headers = {"retry-after": str(max(1, math.ceil(seconds)))}
        if seconds > _RETRIED:
            headers["x-should-retry"] = "false"
    return ApiError(429, message, type=what, code="rate_limit_exceeded", headers=headers)


def duration(seconds: float) -> str:
    """A time as the API's headers tell it: 250ms, 6s, 1m30s, 3h0m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if whole >= 60 else "") + f"{whole % 60}s"
