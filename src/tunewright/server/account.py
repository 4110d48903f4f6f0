"""What each request came to: made into the log's line and told to the metrics. Never a message's text."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("tunewright.server")

OFTEN = ("/healthz", "/metrics")  # asked every few seconds: their lines are for debugging


@dataclass(eq=False)
class Account:
    """Filled in while a request is answered. Stands in its scope as "account"."""

    began: float = field(default_factory=time.monotonic)
    model: str = ""  # what answers, once that is known: a release or a base, never a name that the client made up
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of those: kept from earlier prompts
    completion_tokens: int = 0
    first_token_seconds: float | None = None  # from the request's beginning

    def first_token_at(self, moment: float) -> None:
        """When the first text of an answer was there, by the monotonic clock."""
        self.first_token_seconds = moment - self.began


def account_of(request: Request) -> Account:
    """The account of a request."""
    found: Account = request.scope["account"]
    return found


@dataclass(frozen=True)
class Answered:
    """A request that is over. status: 0 where the client had gone before there was one. route: the pattern of its path;
    "" where none fits.
    """

    method: str
    route: str
    status: int
    seconds: float
    account: Account


class Accounts:
    """Outermost of all: gives each request its account, and closes it."""

    def __init__(self, app: ASGIApp, *, tell: Callable[[Answered], None] | None = None) -> None:
        self.app = app
        self.tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        account = scope["account"] = Account()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            seconds = time.monotonic() - account.began
            route = getattr(scope.get("route"), "path", "")
            _log(scope, status, seconds, account)
            if self.tell is not None:
                self.tell(Answered(scope["method"], route, status, seconds, account))


def _log(scope: Scope, status: int, seconds: float, account: Account) -> None:
    facts: dict[str, Any] = {
        "request": scope.get("request_id", ""),
        "key": scope["caller"].key_id if "caller" in scope else "",
        "method": scope["method"],
        "path": scope["path"],
        "status": status or "gone",
        "seconds": round(seconds, 3),
    }
    level = logging.DEBUG if scope["path"] in OFTEN else logging.INFO
    line = (facts["request"], facts["method"], facts["path"], facts["status"], facts["seconds"])
    if account.model:
        facts |= {
            "model": account.model,
            "prompt_tokens": account.prompt_tokens,
            "cached_tokens": account.cached_tokens,
            "completion_tokens": account.completion_tokens,
        }
        if account.first_token_seconds is not None:
            facts["first_token_seconds"] = round(account.first_token_seconds, 3)
    log.log(level, "%s %s %r %s %s", *line, extra={"facts": facts})
