"""Who asks: a key's project and what it may do. Without keys everybody on this machine may do everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from tunewright.server.budgets import Budget
from tunewright.workspace.config import named
from tunewright.workspace.keys import SCOPES, Scope
from tunewright.workspace.tables import DEFAULT_PROJECT


@dataclass(frozen=True)
class Caller:
    """The key behind a request. models: names or globs that it may ask; empty: all of its project."""

    key_id: str = ""
    project: str = DEFAULT_PROJECT
    scopes: tuple[Scope, ...] = SCOPES
    models: tuple[str, ...] = field(default=())
    of_job: bool = False  # a job of this server, which is no traffic
    budget: Budget = field(default_factory=Budget, compare=False, repr=False)

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope; admin has all."""
        return scope in self.scopes or "admin" in self.scopes

    def may_ask(self, model: str) -> bool:
        """Whether the key may name a model. Where it may not, answer as to a name that nothing has."""
        return not self.models or named(self.models, model)


LOCAL = Caller()


def caller_of(request: Request) -> Caller:
    """Who sent a request: what the door found out."""
    found: Caller = request.scope["caller"]
    return found
