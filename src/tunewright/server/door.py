"""What every request passes first: its id, the key, the size of its body; and the shape of every error."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
import uuid
from collections.abc import Sequence, Set
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunewright.server.caller import LOCAL
from tunewright.server.protocol import ApiError

log = logging.getLogger("tunewright.server")

MAX_BODY = 4 * 2**20
DRAINED = 32 * 2**20  # of a body that is too large, this much is read away, so that the client sees the answer


class Door:
    """Outermost of all. Without keys only requests to a loopback name are let in, which keeps foreign web pages out."""

    def __init__(
        self, app: ASGIApp, *, keys: Sequence[str] = (), max_body: int = MAX_BODY, open_paths: Set[str] = frozenset()
    ) -> None:
        """open_paths: paths that need no key."""
        self.app = app
        self.open_paths = open_paths
        self.digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started = time.monotonic()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            self._check(scope)
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
        finally:
            seconds = round(time.monotonic() - started, 3)
            level = (
                logging.DEBUG if scope["path"] in self.open_paths else logging.INFO
            )  # health is asked every few seconds
            log.log(level, "%s %s %r %s %s", request_id, scope["method"], scope["path"], status or "gone", seconds)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        scope["caller"] = LOCAL
        if scope["path"] in self.open_paths:
            return
        if self.digests:
            self._check_key(headers.get("authorization", ""))
        elif not _is_loopback_name(headers.get("host", "")):
            message = (
                "Without keys this server answers only requests to localhost. Start it with keys to serve other names."
            )
            raise ApiError(403, message, type="permission_error", code="host_not_allowed")
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > self.max_body:
            raise self._too_large()

    def _check_key(self, authorization: str) -> None:
        scheme, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1")).digest()
        # every key is compared in full, so that the time taken tells nothing
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        if scheme.lower() != "bearer" or not any(matches):
            what = "Incorrect API key provided." if key else "You did not provide an API key."
            headers = {"www-authenticate": "Bearer"}
            raise ApiError(
                401, f"{what} Send it as 'Authorization: Bearer KEY'.", code="invalid_api_key", headers=headers
            )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Count the body as it comes: a stream may not say how long it is."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ApiError:
        return ApiError(413, f"The body is larger than {self.max_body:,} bytes. Send less.", code="request_too_large")


def error_response(error: ApiError) -> JSONResponse:
    """An error in the API's shape."""
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(error)(scope, receive, send)


async def _drain(receive: Receive) -> None:
    taken = 0
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
