"""The page on which people rate, for this machine alone: behind a token in its address, with nothing from outside."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

import tunewright
from tunewright.core.errors import TunewrightError
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.server.account import Accounts
from tunewright.server.door import Door
from tunewright.server.listening import api_error, listen, serve_until_stopped
from tunewright.server.protocol import ApiError, parse
from tunewright.stages import rating
from tunewright.stages.rating_plan import ROWS, Order
from tunewright.stages.ratings import Given, Session

WEB = Path(tunewright.__file__).parent / "web"
FILES = {"report.css": "text/css", "rate.css": "text/css", "rate.js": "text/javascript"}
MAX_BODY = 64 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Who(BaseModel):
    """Which rater asks."""

    model_config = ConfigDict(extra="forbid")

    rater: str


class Said(Who):
    """What a rater says of the turn at `place`."""

    place: int
    choice: str
    criteria: dict[str, str | bool] = {}
    critical: bool = False
    comment: str = ""
    seconds: float = 0.0


def rate(
    run: str | Path,
    *,
    pairs: Sequence[str] = (),
    rows: int = ROWS,
    order: Order = "random",
    gate: bool = False,
    rater: str | None = None,
    port: int = 0,
    browser: bool = True,
    runs: str | Path = "runs",
    listening_at: Callable[[str], None] | None = None,
) -> Report:
    """Open the page on which people rate, until SIGTERM or Ctrl-C; return what was rated so far. Ratings are kept in
    the run as they come, so that it may be stopped at any moment.

    pairs: `tuned:base`, else those of the recipe. rows: how many of each pair. order: `discordant` shows rows graded
    differently first. gate: the cases of evaluate.gate instead. rater: their name, else the page asks. port: 0 takes a
    free one. listening_at: told the address. Raises TunewrightError.
    """
    the_run = Run.open(run, runs=runs)
    session = rating.session(the_run, pairs=pairs, rows=rows, order=order, gate=gate)
    token = secrets.token_urlsafe(24)
    with contextlib.closing(listen("127.0.0.1", port)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/"
        if listening_at is not None:
            listening_at(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # some browsers hold on
        serve_until_stopped(build(session, token, rater=rater), listening)
    return rating.ratings(the_run.folder)


def build(session: Session, token: str, *, rater: str | None = None) -> FastAPI:
    """The application over a session: everything lies below the token, and all else is not there."""
    app = FastAPI(title="tunewright", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_middleware(Door, max_body=MAX_BODY)
    app.add_middleware(Accounts)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(TunewrightError, api_error)
    app.add_exception_handler(HTTPException, api_error)

    def check(given: str) -> None:
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(404, "Not found")

    async def body(request: Request, given: str) -> bytes:
        check(given)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a form of another page cannot say this without being asked back
            raise HTTPException(415, "Send JSON")
        return await request.body()

    @app.get("/{given}/")
    async def page(given: str) -> Response:
        check(given)
        return Response((WEB / "rate.html").read_text(encoding="utf-8"), media_type="text/html", headers=HEADERS)

    @app.get("/{given}/{name}")
    async def file(given: str, name: str) -> Response:
        check(given)
        if name not in FILES:
            raise HTTPException(404, "Not found")
        return Response((WEB / name).read_text(encoding="utf-8"), media_type=FILES[name], headers=HEADERS)

    @app.post("/{given}/begin")
    async def begin(given: str, request: Request) -> Response:
        await body(request, given)
        return _told({"kind": session.kind, "rater": rater, "criteria": session.criteria})

    @app.post("/{given}/next")
    async def following(given: str, request: Request) -> Response:
        asked = parse(Who, await body(request, given))
        return _told(await asyncio.to_thread(session.state, asked.rater))

    @app.post("/{given}/rate")
    async def take(given: str, request: Request) -> Response:
        said = parse(Said, await body(request, given))
        what = Given(said.choice, dict(said.criteria), said.critical, said.comment, max(said.seconds, 0.0))
        return _told(await asyncio.to_thread(session.rate, said.rater, said.place, what))

    @app.post("/{given}/undo")
    async def undo(given: str, request: Request) -> Response:
        asked = parse(Who, await body(request, given))
        return _told(await asyncio.to_thread(session.undo, asked.rater))

    return app


def _told(state: dict[str, Any]) -> JSONResponse:
    return JSONResponse(state, headers=HEADERS)
