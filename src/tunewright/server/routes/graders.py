"""Graders tried on one answer, and checked, before a job learns from them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request

from tunewright.server import grading
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs
from tunewright.server.wire.graders import GraderRunRequest, GraderValidateRequest

AT_ONCE = 4  # graders that are computed side by side
MOST = 32  # of them and those that wait


def add(api: APIRouter, front: Front) -> None:
    """/v1/fine_tuning/alpha/graders."""
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="grading")
    under_way = 0

    @api.post("/v1/fine_tuning/alpha/graders/run")
    @needs("train")
    async def run(request: Request) -> dict[str, Any]:
        nonlocal under_way
        asked = parse(GraderRunRequest, await request.body())
        await grading.check(front, caller_of(request), asked.grader)
        if under_way >= MOST:
            message = f"{MOST} graders are being computed. Come again in a moment."
            raise ApiError(429, message, type="rate_limit_error", code="queue_full", headers={"retry-after": "1"})
        under_way += 1
        try:
            return await grading.run(
                front, caller_of(request), asked.grader, asked.item or {}, asked.model_sample, pool
            )
        finally:
            under_way -= 1

    @api.post("/v1/fine_tuning/alpha/graders/validate")
    @needs("train")
    async def validate(request: Request) -> dict[str, Any]:
        asked = parse(GraderValidateRequest, await request.body())
        await grading.check(front, caller_of(request), asked.grader)
        return {"grader": asked.grader}
