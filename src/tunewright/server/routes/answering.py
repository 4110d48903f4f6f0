"""Chat, completions and embeddings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tunewright.server import embeddings, exchange
from tunewright.server.account import account_of
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ChatRequest, CompletionRequest, parse
from tunewright.server.routing import needs

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")


def add(api: APIRouter, front: Front) -> None:
    """/v1/chat/completions, /v1/completions, /v1/embeddings."""

    @api.post("/v1/chat/completions")
    @needs("infer")
    async def chat(request: Request) -> Response:
        return await _answer(front, request, parse(ChatRequest, await request.body()))

    @api.post("/v1/completions")
    @needs("infer")
    async def complete(request: Request) -> Response:
        return await _answer(front, request, parse(CompletionRequest, await request.body()))

    @api.post("/v1/embeddings")
    @needs("infer")
    async def embed(request: Request) -> Response:
        asked = parse(embeddings.EmbeddingsRequest, await request.body())
        try:
            work = embeddings.answered(front.models, asked, **_whose(request))
            return JSONResponse(await _unless_gone(request.receive, work))
        except ClientGone:
            return Response(status_code=499)


async def _answer(front: Front, request: Request, asked: ChatRequest | CompletionRequest) -> Response:
    arrived, whose = time.monotonic(), _whose(request)
    begun = await exchange.begin(front.models, asked, **whose)
    if front.recorder is not None:
        front.recorder.watch(begun, whose["caller"], arrived=arrived)
    if asked.stream:
        return EventStream(exchange.stream(begun), begun.close)
    try:
        return JSONResponse(await _unless_gone(request.receive, exchange.whole(begun)))
    except ClientGone:
        return Response(status_code=499)
    finally:
        begun.close()


def _whose(request: Request) -> dict[str, Any]:
    """Who asks, what their requests belong to, and what this one comes to."""
    session = request.headers.get("x-session-id")
    return {"caller": caller_of(request), "session": session, "account": account_of(request)}


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


class EventStream(Response):
    """Server-sent events until they end or the client hangs up; `close` is called in any case."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], close: Callable[[], None]) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self.events = events
        self.close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes."""

        async def pump() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in self.events:
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        try:
            await _unless_gone(receive, pump())
        except ClientGone:
            log.info("the client hung up")
        finally:
            self.close()


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; raises ClientGone as soon as the client hangs up, and stops the work."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()
        watching.cancel()
