"""The OpenAI API over HTTP: the application, put together from its routes, and the process that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from tunewright.core.errors import TunewrightError
from tunewright.core.run import Run
from tunewright.server import supervisor
from tunewright.server.account import Accounts
from tunewright.server.door import Door, is_loopback
from tunewright.server.front import Front
from tunewright.server.keyring import Keyring
from tunewright.server.listening import api_error, listen, local_address, serve_until_stopped
from tunewright.server.protocol import ApiError
from tunewright.server.registry import Registry
from tunewright.server.routes import (
    aliases,
    answering,
    evals,
    feedback,
    files,
    graders,
    jobs,
    models,
    monitor,
    permissions,
    state,
    uploads,
    webhooks,
)
from tunewright.server.routes import keys as key_routes
from tunewright.server.routing import Guarded, large_bodies, open_paths
from tunewright.workspace.config import EngineOptions
from tunewright.workspace.place import Workspace

log = logging.getLogger("tunewright.server")

ALWAYS = (state, models, answering)  # groups of routes of every server
# groups of routes where there is a workspace
OF_WORKSPACE = (
    key_routes,
    files,
    uploads,
    jobs,
    permissions,
    graders,
    aliases,
    feedback,
    monitor,
    evals,
    webhooks,
    supervisor,
)


def serve(
    runs: Sequence[str | Path] = (),
    *,
    workspace: str | Path = ".",
    runs_folder: str | Path = "runs",
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Sequence[str] = (),
    engine: EngineOptions | None = None,
    max_live: int = 32,
    max_waiting: int = 256,
    prefix_bytes: int | None = None,
    listening_at: Callable[[str], None] | None = None,
) -> None:
    """Serve the releases of some runs, or without any a workspace, until SIGTERM or Ctrl-C.

    workspace: the folder that holds (or will hold) .tunewright/; its config names the base models. keys: what clients
    must send; without any, only loopback addresses are served. engine: what writes the answers, instead of what the
    workspace's config says. max_live: answers written at once on each base. max_waiting: how many more of one key may
    wait before 429 is answered. prefix_bytes: memory on each base for keys and values of earlier prompts, so that what
    begins alike is not read again; left out, what the workspace's config says. listening_at: told the address, before
    the first request is taken. Raises TunewrightError when it cannot start.
    """
    _check(keys)
    opened = _opened(runs, runs_folder)
    names = [run.name for run in opened]
    place = None if opened else Workspace.open(workspace)
    keyring = Keyring(keys, place.database if place else None)
    if not is_loopback(host) and not keyring.any():
        raise TunewrightError(
            f"Without keys the server listens on loopback only, not on '{host}'. Make a key of the workspace "
            "(tunewright keys create), set keys (--key, or TUNEWRIGHT_KEYS), or leave the host out."
        )
    with contextlib.closing(listen(host, port)) as listening:
        limits: dict[str, Any] = {"max_live": max_live, "max_waiting": max_waiting, "keep": prefix_bytes}
        registry = Registry(opened, workspace=place, engine=engine, **limits)
        registry.start()
        front = Front(registry, keyring=keyring, workspace=place, address=f"{local_address(listening)}/v1")
        address = f"http://{host}:{listening.getsockname()[1]}/v1"
        log.info("serving %s at %s", ", ".join(names) or f"the workspace {workspace}", address)
        if listening_at is not None:
            listening_at(address)
        serve_until_stopped(build(front), listening)


def _opened(runs: Sequence[str | Path], folder: str | Path) -> list[Run]:
    opened = [Run.open(name, runs=folder) for name in runs]
    names = [run.name for run in opened]
    if len(set(names)) < len(names):
        raise TunewrightError(
            f"Two of the runs have the same name: {', '.join(names)}. Serve one of them, or rename its folder."
        )
    return opened


def _check(keys: Sequence[str]) -> None:
    if any(not key.strip() or not key.isascii() for key in keys):
        raise TunewrightError(
            "A key is empty or has characters other than ASCII. Give each key as plain letters and digits."
        )


def build(front: Front) -> FastAPI:
    """The application over models that are open."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        for work in front.background.values():
            work.start()
        yield
        for work in front.background.values():
            await asyncio.to_thread(work.stop)
        await asyncio.to_thread(front.keyring.write)
        await asyncio.to_thread(front.models.stop)

    app = FastAPI(title="tunewright", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.router.route_class = Guarded
    for group in (*ALWAYS, *(OF_WORKSPACE if front.workspace else ())):
        group.add(app.router, front)
    app.add_middleware(
        Door,
        keyring=front.keyring,
        open_paths=open_paths(app.routes),
        large_bodies=large_bodies(app.routes),
    )
    app.add_middleware(Accounts, tell=front.metrics.count)
    for kind in (ApiError, TunewrightError, HTTPException, RequestValidationError, OperationalError):
        app.add_exception_handler(kind, api_error)
    return app
