"""Bodies of /v1/aliases."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunewright.server.protocol import Body
from tunewright.workspace.tables import Alias


class Change(Body):
    """POST /v1/aliases/{name}/rollback, and what all share."""

    why: str = Field("", max_length=1000, description="a reason, kept in the history")


class Setting(Change):
    """POST /v1/aliases."""

    name: str = Field(min_length=1, max_length=64)
    shares: dict[str, float]


class Promoting(Change):
    """POST /v1/aliases/{name}/promote."""

    model: str = Field(min_length=1, max_length=512)


def shown(row: Alias) -> dict[str, Any]:
    """One state of an alias."""
    facts = {"object": "alias", "name": row.name, "created": int(row.created), "shares": row.shares}
    return facts | {"action": row.action, "by": row.by or None, "why": row.why or None}
