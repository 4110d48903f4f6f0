"""Clients that stand still, trickle, do not read or are too many lose their connection, and others are answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from tunewright.server.connections import HEAD_SECONDS, Impatient
from tunewright.server.door import MAX_HEADERS, Door
from tunewright.server.listening import IDLE_SECONDS, listen

CHUNK = b"x" * 65_536


class Quick(Impatient):
    """The same with little patience."""

    max_connections = 8
    head_seconds = 0.5
    stalled_seconds = 0.5


class Echo:
    """Reads a body and answers its size; /flood answers without an end."""

    def __init__(self) -> None:
        self.flooding = threading.Event()
        self.flooded = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["path"] == "/flood":
            await self._flood(receive, send)
            return
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps({"size": size}).encode()})

    async def _flood(self, receive: Any, send: Any) -> None:
        gone = asyncio.ensure_future(self._gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.flooding.set()
        while not gone.done():
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            await asyncio.sleep(0)
        self.flooded.set()

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def port(echo: Echo) -> Iterator[int]:
    """A server of its own in a thread."""
    config = uvicorn.Config(
        Door(echo, body_seconds=0.5, max_body=2**20), http=Quick, ws="none", log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    with contextlib.closing(listen("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(autouse=True)
def others_are_answered(port: int) -> Iterator[None]:
    """Whatever a test did, the next request is answered."""
    yield

    def answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.post(f"http://127.0.0.1:{port}/", content=b"abc").json() == {"size": 3}
        return False

    wait_for(answered)


def wait_for(fact: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


@contextlib.contextmanager
def opened(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while got := connection.recv(65_536):
            found += got
    return found


def trickle(connection: socket.socket, byte: bytes) -> None:
    """Send a byte every now and then until the server has had enough."""
    with contextlib.suppress(OSError):
        for _ in range(200):
            connection.sendall(byte)
            time.sleep(0.05)


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nhost: local"])
def test_a_head_that_does_not_come_is_not_waited_for(port: int, begin: bytes) -> None:
    with opened(port) as connection:
        connection.sendall(begin)
        threading.Thread(target=trickle, args=(connection, b"x" if begin else b""), daemon=True).start()
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer


def test_a_body_that_trickles_is_refused(port: int) -> None:
    with opened(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
        threading.Thread(target=trickle, args=(connection, b"x"), daemon=True).start()
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer and b"x-request-id" in answer


def test_a_body_that_comes_at_a_good_pace_may_take_longer(port: int) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * 65_536
            time.sleep(0.1)

    assert httpx.post(f"http://127.0.0.1:{port}/", content=pieces()).json() == {"size": 655_360}


def test_heads_that_are_too_large_are_refused(port: int) -> None:
    answer = httpx.get(f"http://127.0.0.1:{port}/", headers={"x-much": "x" * MAX_HEADERS})
    assert (answer.status_code, answer.json()["error"]["code"]) == (431, "headers_too_large")
    many = {f"x-{number}": "y" * 100 for number in range(400)}
    assert httpx.get(f"http://127.0.0.1:{port}/", headers=many).status_code == 431
    with opened(port) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-much: ")
        for _ in range(64):  # more than what the system holds for a server that reads no more
            connection.sendall(b"x" * 1_000_000)
        raise AssertionError("64 megabytes of header were taken")


def test_a_client_that_does_not_read_is_let_go(port: int, echo: Echo) -> None:
    with opened(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /flood HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert echo.flooding.wait(20)
        assert echo.flooded.wait(20)  # it never read a byte


def test_a_half_closed_stream_is_let_go(port: int, echo: Echo) -> None:
    echo.flooded.clear()
    with opened(port) as connection:
        connection.sendall(b"GET /flood HTTP/1.1\r\nhost: localhost\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        rest(connection)
        assert echo.flooded.wait(20)


def test_more_connections_than_there_is_room_for_are_told_so(port: int) -> None:
    def one_too_many() -> bytes:
        with contextlib.ExitStack() as stack:
            for _ in range(Quick.max_connections):
                stack.enter_context(opened(port))
            return rest(stack.enter_context(opened(port)))

    wait_for(lambda: (answer := one_too_many()).startswith(b"HTTP/1.1 503") and b"retry-after" in answer)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1073741824\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n\x00b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_good_request_is_refused_and_ends(port: int, sent: bytes) -> None:
    with opened(port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = rest(connection)
    assert not answer or answer.split()[1] in (b"400", b"403", b"408", b"413", b"200")
    assert b"Traceback" not in answer


def test_connections_are_kept_longer_than_clients_keep_them() -> None:
    """A server that ends one at the moment at which its client uses it again loses a request."""
    kept_by_clients = httpx.Limits().keepalive_expiry
    assert kept_by_clients is not None and kept_by_clients + 2 < IDLE_SECONDS < HEAD_SECONDS
