"""Bodies of /v1/aliases."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tunewright.workspace.tables import Alias

WHY = Field("", max_length=1000, description="a reason, kept in the history")


class Body(BaseModel):
    """What all of them share."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    why: str = WHY


class Setting(Body):
    """POST /v1/aliases."""

    name: str = Field(min_length=1, max_length=64)
    shares: dict[str, float]


class Promoting(Body):
    """POST /v1/aliases/{name}/promote."""

    model: str = Field(min_length=1, max_length=512)


def shown(row: Alias) -> dict[str, Any]:
    """One state of an alias."""
    facts = {"object": "alias", "name": row.name, "created": int(row.created), "shares": row.shares}
    return facts | {"action": row.action, "by": row.by or None, "why": row.why or None}
