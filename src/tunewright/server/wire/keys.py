"""Keys on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunewright.server.protocol import Body
from tunewright.workspace.tables import Key


class KeyRequest(Body):
    """POST /v1/keys. expires_in_seconds: from now; left out, the key does not expire."""

    name: str = Field(min_length=1, max_length=128)
    scopes: list[str] = Field(["infer"], min_length=1, max_length=3)
    models: list[str] = Field([], max_length=100)
    requests_per_minute: int | None = Field(None, ge=1, lt=2**53)
    tokens_per_minute: int | None = Field(None, ge=1, lt=2**53)
    tokens_per_day: int | None = Field(None, ge=1, lt=2**53)
    expires_in_seconds: int | None = Field(None, ge=1, lt=2**53)


def shown(row: Key) -> dict[str, Any]:
    """A key as the API and the command tell it: without its secret."""
    return {
        "id": row.id,
        "object": "api_key",
        "name": row.name,
        "project": row.project,
        "begins_with": row.shown,
        "scopes": row.scopes,
        "models": row.models,
        "requests_per_minute": row.requests_per_minute,
        "tokens_per_minute": row.tokens_per_minute,
        "tokens_per_day": row.tokens_per_day,
        "created_at": int(row.created),
        "expires_at": None if row.expires is None else int(row.expires),
        "revoked_at": None if row.revoked is None else int(row.revoked),
        "last_used_at": None if row.used is None else int(row.used),
    }
