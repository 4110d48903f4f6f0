"""The OpenAI API over HTTP: chat, completions and models, for releases and their bases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from tunewright.core.errors import TunewrightError
from tunewright.core.run import Run
from tunewright.server import embeddings, exchange
from tunewright.server.door import MAX_BODY, Door, is_loopback
from tunewright.server.listening import SHUTDOWN_SECONDS, api_error, listen, signals_end_cleanly
from tunewright.server.protocol import ApiError, ChatRequest, CompletionRequest, parse
from tunewright.server.registry import Registry

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")


def serve(
    runs: Sequence[str | Path],
    *,
    runs_folder: str | Path = "runs",
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Sequence[str] = (),
    max_live: int = 32,
    max_waiting: int = 256,
    listening_at: Callable[[str], None] | None = None,
) -> None:
    """Serve the releases of some runs until SIGTERM or Ctrl-C.

    keys: what clients must send; without any, only loopback addresses are served. max_live: answers written at once.
    max_waiting: how many may wait before 429 is answered. listening_at: told the address, before the first request is
    taken. Raises TunewrightError when it cannot start.
    """
    if not keys and not is_loopback(host):
        raise TunewrightError(
            f"Without keys the server listens on loopback only, not on '{host}'. "
            "Set keys (--key, or TUNEWRIGHT_KEYS), or leave the host out."
        )
    if any(not key.strip() or not key.isascii() for key in keys):
        raise TunewrightError(
            "A key is empty or has characters other than ASCII. Give each key as plain letters and digits."
        )
    opened = [Run.open(name, runs=runs_folder) for name in runs]
    names = [run.name for run in opened]
    if len(set(names)) < len(names):
        raise TunewrightError(
            f"Two of the runs have the same name: {', '.join(names)}. Serve one of them, or rename its folder."
        )
    with contextlib.closing(listen(host, port)) as listening:
        registry = Registry(opened, max_live=max_live, max_waiting=max_waiting)
        registry.start()
        config = uvicorn.Config(
            build(registry, list(keys)),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        address = f"http://{host}:{listening.getsockname()[1]}/v1"
        log.info("serving %s at %s", ", ".join(names), address)
        if listening_at is not None:
            listening_at(address)
        with signals_end_cleanly():
            uvicorn.Server(config).run(sockets=[listening])


def build(models: Registry, keys: Sequence[str] = (), *, max_body: int = MAX_BODY) -> FastAPI:
    """The application over models that are open."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(models.stop)

    app = FastAPI(title="tunewright", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.add_middleware(Door, keys=keys, max_body=max_body)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(TunewrightError, api_error)
    app.add_exception_handler(HTTPException, api_error)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", **models.load()}

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": await models.listing(), "has_more": False}

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        for model in await models.listing():
            if model["id"] == name:
                return model
        raise models.no_model(name)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await _answer(models, request, parse(ChatRequest, await request.body()))

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        return await _answer(models, request, parse(CompletionRequest, await request.body()))

    @app.post("/v1/embeddings")
    async def embed(request: Request) -> Response:
        asked = parse(embeddings.EmbeddingsRequest, await request.body())
        try:
            return JSONResponse(await _unless_gone(request.receive, embeddings.answered(models, asked)))
        except ClientGone:
            return Response(status_code=499)

    return app


async def _answer(models: Registry, request: Request, asked: ChatRequest | CompletionRequest) -> Response:
    begun = await exchange.begin(models, asked)
    if asked.stream:
        return EventStream(exchange.stream(begun), begun.close)
    try:
        return JSONResponse(await _unless_gone(request.receive, exchange.whole(begun)))
    except ClientGone:
        return Response(status_code=499)
    finally:
        begun.close()


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
