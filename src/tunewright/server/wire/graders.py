"""Graders on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunewright.server.protocol import Body

MAX_SAMPLE = 1_000_000  # characters


class GraderValidateRequest(Body):
    """POST /v1/fine_tuning/alpha/graders/validate."""

    grader: dict[str, Any]


class GraderRunRequest(GraderValidateRequest):
    """POST /v1/fine_tuning/alpha/graders/run. item: the row's columns."""

    model_sample: str = Field(max_length=MAX_SAMPLE)
    item: dict[str, Any] | None = None
