"""What requests about files and uploads say, checked; and how files and uploads are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from tunewright.server.protocol import ApiError, Body
from tunewright.workspace import files, uploads
from tunewright.workspace.tables import File, Upload, UploadPart

LONGEST_NAME = 255  # characters
_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")


class ExpiresAfter(Body):
    """When a file goes: seconds after it was made, an hour to 30 days."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class NewUpload(Body):
    """POST /v1/uploads."""

    bytes: int = Field(ge=1)
    filename: str = Field(min_length=1)
    mime_type: str = Field(min_length=1, max_length=128)
    purpose: files.Purpose
    expires_after: ExpiresAfter | None = None

    @field_validator("mime_type")
    @classmethod
    def _plain(cls, given: str) -> str:
        if not given.isprintable():
            raise ValueError("must hold no control characters")
        return given


class Complete(Body):
    """POST /v1/uploads/{id}/complete."""

    part_ids: list[str] = Field(min_length=1, max_length=uploads.MOST_PARTS)
    md5: str | None = Field(None, pattern="^[0-9a-fA-F]{32}$")


def refuse_name(name: str) -> None:
    """Raise ApiError where a filename cannot be shown. It is never made into a path."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        message = f"A filename has at most {LONGEST_NAME} characters, and none that control a terminal. Give another."
        raise ApiError(400, message, param="file", code="invalid_value")


def purpose_of(fields: Mapping[str, str]) -> str:
    """The purpose that a form gives. Raises ApiError."""
    for name in fields:
        if name not in _FIELDS:
            message = f"Unknown parameter: '{name[:80]}'. Send file, {', '.join(_FIELDS)}."
            raise ApiError(400, message, param=name[:80], code="unknown_parameter")
    purpose = fields.get("purpose")
    if purpose is None:
        message = "Missing required parameter: 'purpose'."
        raise ApiError(400, message, param="purpose", code="missing_required_parameter")
    if purpose not in files.PURPOSES:
        message = f"Invalid 'purpose': '{purpose[:80]}'. Choose from: {', '.join(files.PURPOSES)}."
        raise ApiError(400, message, param="purpose", code="invalid_value")
    return purpose


def seconds_of(fields: Mapping[str, str]) -> int | None:
    """After how many seconds a form's file expires; None: it does not. Raises ApiError."""
    anchor, seconds = (fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = "Invalid 'expires_after': its anchor must be 'created_at'."
        raise ApiError(400, message, param="expires_after", code="invalid_value")
    number = int(seconds) if seconds and seconds.isascii() and seconds.isdigit() and len(seconds) < 10 else 0
    if not 3600 <= number <= 2_592_000:
        message = "Invalid 'expires_after': its seconds must be 3600 (an hour) to 2592000 (30 days)."
        raise ApiError(400, message, param="expires_after", code="invalid_value")
    return number


def shown(row: File) -> dict[str, Any]:
    """A file as the API has it."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": int(row.created),
        "expires_at": None if row.expires is None else int(row.expires),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": row.status,
        "status_details": row.status_details,
    }


def shown_upload(row: Upload, file: File | None = None) -> dict[str, Any]:
    """An upload as the API has it, with its file once it is complete."""
    return {
        "id": row.id,
        "object": "upload",
        "bytes": row.bytes,
        "created_at": int(row.created),
        "expires_at": int(row.expires),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": uploads.status(row),
        "file": None if file is None else shown(file),
    }


def shown_part(row: UploadPart) -> dict[str, Any]:
    """A part of an upload as the API has it."""
    return {"id": row.id, "object": "upload.part", "created_at": int(row.created), "upload_id": row.upload_id}
