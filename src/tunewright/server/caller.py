"""Who asks: a key's project and what it may do. Without keys everybody on this machine may do everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request

from tunewright.workspace.tables import DEFAULT_PROJECT

Scope = Literal["infer", "train", "admin"]
SCOPES: tuple[Scope, ...] = ("infer", "train", "admin")


@dataclass(frozen=True)
class Caller:
    """The key behind a request. models: names or globs that it may ask; empty: all of its project."""

    key_id: str = ""
    project: str = DEFAULT_PROJECT
    scopes: tuple[Scope, ...] = SCOPES
    models: tuple[str, ...] = field(default=())

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope; admin has all."""
        return scope in self.scopes or "admin" in self.scopes


LOCAL = Caller()


def caller_of(request: Request) -> Caller:
    """Who sent a request: what the door found out."""
    found: Caller = request.scope["caller"]
    return found
