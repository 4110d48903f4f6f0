"""Permissions on the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tunewright.server.protocol import Body
from tunewright.server.wire.jobs import plain
from tunewright.workspace.tables import Permission

MAX_PROJECTS = 200  # in one request

Project = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(plain)]


class PermissionRequest(Body):
    """POST /v1/fine_tuning/checkpoints/{name}/permissions."""

    project_ids: list[Project] = Field(min_length=1, max_length=MAX_PROJECTS)


def permission_object(permission: Permission) -> dict[str, Any]:
    """That a project may ask a model."""
    return {
        "id": permission.id,
        "object": "checkpoint.permission",
        "created_at": int(permission.created),
        "project_id": permission.project,
    }
