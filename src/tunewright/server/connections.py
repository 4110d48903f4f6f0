"""HTTP connections that do not wait for ever: for a head that trickles, for a reader that stopped, for room."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 1000
HEAD_SECONDS = 15.0  # for the request line and the headers
STALLED_SECONDS = 60.0  # that an answer waits for a client that does not read it


class Impatient(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, whose connections end by themselves when their client stands still.

    Bodies that trickle are the door's part. Heads beyond 64 KiB are answered 400 by h11 itself.
    """

    max_connections = MAX_CONNECTIONS
    head_seconds = HEAD_SECONDS
    stalled_seconds = STALLED_SECONDS
    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a client in, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(503, "The server has as many connections as it takes. Try again in a moment.", "too_many")
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on; a request whose head is whole is no longer waited for."""
        super().data_received(data)
        if self._head is not None and self._is_answering():
            self._head.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        """The client does not read: give it a while."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        super().connection_lost(exc)
        for timer in (self._head, self._stalled):
            if timer is not None:
                timer.cancel()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
        if not self.transport.is_closing():
            self._head = self.loop.call_later(self.head_seconds, self._no_head)

    def _no_head(self) -> None:
        if not self._is_answering() and not self.transport.is_closing():
            self._refuse(408, "The request did not come. Send its head at once.", "request_timeout")

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer before there is a request, and end the connection."""
        error = {"message": message, "type": "server_error", "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()
