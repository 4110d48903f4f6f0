"""Routes that say what a caller needs: none can be added without it."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from tunewright.server.caller import caller_of
from tunewright.server.protocol import ApiError
from tunewright.workspace.keys import Scope

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def needs(scope: Scope | Literal["nothing"]) -> Callable[[Endpoint], Endpoint]:
    """Say what scope a caller of this endpoint needs ("nothing": not even a key). Stands under the route's line."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.needs = scope  # type: ignore[attr-defined]
        return endpoint

    return mark


def takes(num_bytes: int) -> Callable[[Endpoint], Endpoint]:
    """Say that this endpoint reads a body of up to so many bytes, which it never holds whole."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.takes = num_bytes  # type: ignore[attr-defined]
        return endpoint

    return mark


class Guarded(APIRoute):
    """A route that refuses callers without its scope, before it reads the body."""

    def get_route_handler(self) -> Handler:
        """The handler, behind the check. Asserts that the endpoint says what it needs."""
        scope = getattr(self.endpoint, "needs", None)
        assert scope is not None, f"{self.path}: say what it needs with @needs(...)"
        answer = super().get_route_handler()
        if scope == "nothing":
            return answer

        async def guarded(request: Request) -> Response:
            if not caller_of(request).may(scope):
                message = f"This key may not do that: it lacks the scope '{scope}'. Ask for a key that has it."
                raise ApiError(403, message, type="permission_error", code="scope_missing")
            return await answer(request)

        return guarded


def open_paths(routes: list[Any]) -> set[str]:
    """Paths that need no key."""
    return {r.path for r in routes if isinstance(r, Guarded) and getattr(r.endpoint, "needs", None) == "nothing"}


def large_bodies(routes: list[Any]) -> list[tuple[re.Pattern[str], int]]:
    """Paths that take large bodies, and how large."""
    marked = [(route, getattr(route.endpoint, "takes", None)) for route in routes if isinstance(route, Guarded)]
    return [(route.path_regex, most) for route, most in marked if most is not None]
