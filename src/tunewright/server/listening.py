"""What the servers share: an address to listen on, a clean end, and errors as answers."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from tunewright.core.errors import TunewrightError
from tunewright.server.connections import Impatient
from tunewright.server.door import error_response
from tunewright.server.protocol import ApiError

log = logging.getLogger("tunewright.server")

SHUTDOWN_SECONDS = 5  # what requests in flight are given to finish
# that a connection waits for its next request: longer than clients keep one (httpx: 5), so that none is closed under a
# request that is on its way
IDLE_SECONDS = 12


async def api_error(request: Request, error: Exception) -> Response:
    """An error as an answer in the API's shape."""
    if isinstance(error, ApiError):
        return error_response(error)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        param = str(first["loc"][-1])
        return error_response(ApiError(400, f"Invalid '{param}': {first['msg']}.", param=param, code="invalid_value"))
    if isinstance(error, OperationalError):
        log.error("the database does not answer: %s", error.orig)
        message = "The server's database does not answer. Try again in a moment."
        return error_response(ApiError(503, message, type="server_error", headers={"retry-after": "2"}))
    if isinstance(error, HTTPException):
        what = f"{error.detail}."
        if error.status_code in (404, 405):
            what = f"This server has no {request.method} {request.url.path[:100]}."
        return error_response(ApiError(error.status_code, f"{what} docs/serve.md lists what it answers."))
    return error_response(ApiError(400, str(error)))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises TunewrightError when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise TunewrightError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose another port or host."
        ) from None
    # connections take it over: else each answer on a kept connection waits some 40 ms for the client's acknowledgement
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve_until_stopped(app: FastAPI, listening: socket.socket) -> None:
    """Answer what comes to an address until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with _signals_end_cleanly():
        uvicorn.Server(config).run(sockets=[listening])


def local_address(listening: socket.socket) -> str:
    """The URL by which this machine reaches what listens there."""
    host, port = listening.getsockname()[:2]
    at = ipaddress.ip_address(host)
    if at.is_unspecified:  # it listens on every address of the machine
        host = "127.0.0.1" if at.version == 4 else "::1"
    return f"http://{host}:{port}" if at.version == 4 else f"http://[{host}]:{port}"


@contextlib.contextmanager
def _signals_end_cleanly() -> Iterator[None]:
    """After a clean end uvicorn raises the signal that ended it once more: take it, so that the process ends with 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sign: signal.signal(sign, lambda *_: None) for sign in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
