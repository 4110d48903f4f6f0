"""What every request passes first: its id, the key, the size and pace of its body; and the shape of every error."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Sequence, Set
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunewright.server.caller import LOCAL, Caller
from tunewright.server.keyring import Keyring, in_project
from tunewright.server.protocol import ApiError

log = logging.getLogger("tunewright.server")

MAX_BODY = 4 * 2**20
MAX_HEADERS = 32 * 2**10
BODY_SECONDS = 30.0  # for a body, and one more for each BODY_PACE bytes of it that came
BODY_PACE = 16 * 2**10
DRAINED = 32 * 2**20  # of a body that is too large, this much is read away, so that the client sees the answer


class Door:
    """Without keys only requests to a loopback name are let in, which keeps foreign web pages out."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keyring: Keyring | None = None,
        max_body: int = MAX_BODY,
        open_paths: Set[str] = frozenset(),
        large_bodies: Sequence[tuple[re.Pattern[str], int]] = (),
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        """open_paths: paths that need no key. large_bodies: paths whose body may be larger, and how large.
        body_seconds: how long a body may take that hardly comes.
        """
        self.app = app
        self.open_paths = open_paths
        self.keyring = keyring or Keyring()
        self.max_body = max_body
        self.large_bodies = large_bodies
        self.body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":  # nothing here speaks anything else
            return
        request_id = scope["request_id"] = f"req_{uuid.uuid4().hex}"
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                caller: Caller = scope["caller"]
                told = [(b"x-request-id", request_id.encode()), *caller.budget.headers()]
                message["headers"] = [*message.get("headers", []), *told]
            await send(message)

        try:
            await self._check(scope)
            await self.app(scope, self._limited(scope, receive), answer)
        except ApiError as error:
            if error.status == 413:
                await _drain(receive)
            await _refuse(error, scope, receive, answer)
        except asyncio.CancelledError:  # the server ends and has waited long enough
            log.warning("request %s was cut by the end of the server", request_id)
            if not status:
                message = "The server is ending. Try again in a moment."
                fault = ApiError(503, message, type="server_error", code="shutting_down")
                await _refuse(fault, scope, receive, answer)
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                raise
            message = f"The server failed at this request ({request_id}); its log says why."
            await _refuse(ApiError(500, message, type="server_error"), scope, receive, answer)

    async def _check(self, scope: Scope) -> None:
        """Put the caller into the scope, or raise ApiError."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        scope["caller"] = LOCAL
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
            message = f"The headers are larger than {MAX_HEADERS:,} bytes. Send fewer."
            raise ApiError(431, message, code="headers_too_large")
        if scope["path"] in self.open_paths:
            return
        project = headers.get("openai-project") or None
        authorization = headers.get("authorization", "")
        if await self.keyring.asks(authorization):
            scope["caller"] = await self.keyring.caller(authorization, project)
        elif _is_loopback_name(headers.get("host", "")):
            scope["caller"] = in_project(LOCAL, project)
        else:
            message = (
                "Without keys this server answers only requests to localhost. Start it with keys to serve other names."
            )
            raise ApiError(403, message, type="permission_error", code="host_not_allowed")
        scope["caller"].budget.count_request()
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > self._most(scope):
            raise self._too_large(scope)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Count the body as it comes, since a stream may not say how long it is, and refuse one that trickles."""
        taken, whole, began, most = 0, False, time.monotonic(), self._most(scope)

        async def counted() -> Message:
            nonlocal taken, whole
            if whole:  # what is still waited for is the client's hanging up
                return await receive()
            left = began + self.body_seconds + taken / BODY_PACE - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                told = f"The body comes too slowly: {taken:,} bytes in {time.monotonic() - began:.0f} s. Send it anew."
                raise ApiError(408, told, code="request_timeout", headers={"connection": "close"}) from None
            whole = not message.get("more_body")
            taken += len(message.get("body", b""))
            if taken > most:
                raise self._too_large(scope)
            return message

        return counted

    def _most(self, scope: Scope) -> int:
        path = scope["path"]
        return next((most for paths, most in self.large_bodies if paths.match(path)), self.max_body)

    def _too_large(self, scope: Scope) -> ApiError:
        message = f"The body is larger than {self._most(scope):,} bytes. Send less."
        return ApiError(413, message, code="request_too_large")


def error_response(error: ApiError) -> JSONResponse:
    """An error in the API's shape."""
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(error)(scope, receive, send)


async def _drain(receive: Receive) -> None:
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            while taken < DRAINED:
                message = await receive()
                taken += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _is_loopback_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether a name or address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
