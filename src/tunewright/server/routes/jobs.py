"""Fine-tuning jobs: made, looked at, listed, cancelled, paused, resumed. Who works on them is the supervisor's part."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import ColumnElement, String, cast
from sqlalchemy.orm import Session

from tunewright.core.errors import MissingPackage, NotThere, RunError
from tunewright.server import grading
from tunewright.server.caller import Caller, caller_of
from tunewright.server.front import Front
from tunewright.server.paging import cursor, listed, page
from tunewright.server.protocol import ApiError, parse
from tunewright.server.routing import needs
from tunewright.server.wire.jobs import JobRequest, checkpoint_object, event_object, job_object
from tunewright.workspace import files, ids, jobs, models
from tunewright.workspace.tables import Checkpoint, Job, JobEvent

LIMIT = 20  # rows of a page where none is asked for
CHECKPOINTS_LIMIT = 10
MOST = 10_000  # rows of a page
_PAIR = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_LONGEST_KEY = 255
NEVER_AGAIN = {"x-should-retry": "false"}  # as the API's client reads it


Answer = dict[str, Any]


def add(api: APIRouter, front: Front) -> None:
    """/v1/fine_tuning/jobs."""

    @api.post("/v1/fine_tuning/jobs")
    @needs("train")
    async def create(request: Request) -> Answer:
        asked = parse(JobRequest, await request.body())
        _refuse_untracked(asked)
        if grader := asked.shown_method().get("reinforcement", {}).get("grader"):
            await grading.check(front, caller_of(request), grader, param="method.reinforcement.grader")
        job = await asyncio.to_thread(_create, front, caller_of(request), asked, request.headers)
        _wake_supervisor(front)
        return _shown(front, job)

    @api.get("/v1/fine_tuning/jobs")
    @needs("train")
    def list_jobs(request: Request) -> Answer:
        words = {name: value for name, value in request.query_params.items() if name.startswith("metadata")}
        asked = cursor(request.query_params, default=LIMIT, most=MOST, others=list(words))
        with front.place.database.reading() as session:
            of_project = Job.project == caller_of(request).project
            rows, more = page(session, Job, of_project, *_filters(words), **asdict(asked))
        return listed(rows, lambda job: _shown(front, job), has_more=more)

    @api.get("/v1/fine_tuning/jobs/{job_id}")
    @needs("train")
    def retrieve(request: Request, job_id: str) -> Answer:
        with front.place.database.reading() as session:
            return _shown(front, _found(session, job_id, request))

    @api.get("/v1/fine_tuning/jobs/{job_id}/events")
    @needs("train")
    def events(request: Request, job_id: str) -> Answer:
        return _of_job(front, request, job_id, JobEvent, event_object, limit=LIMIT)

    @api.get("/v1/fine_tuning/jobs/{job_id}/checkpoints")
    @needs("train")
    def checkpoints(request: Request, job_id: str) -> Answer:
        return _of_job(front, request, job_id, Checkpoint, checkpoint_object, limit=CHECKPOINTS_LIMIT)

    @api.post("/v1/fine_tuning/jobs/{job_id}/cancel")
    @needs("train")
    def cancel(request: Request, job_id: str) -> Answer:
        return _changed(front, request, job_id, jobs.want_cancel)

    @api.post("/v1/fine_tuning/jobs/{job_id}/pause")
    @needs("train")
    def pause(request: Request, job_id: str) -> Answer:
        return _changed(front, request, job_id, jobs.want_pause)

    @api.post("/v1/fine_tuning/jobs/{job_id}/resume")
    @needs("train")
    def resume(request: Request, job_id: str) -> Answer:
        return _changed(front, request, job_id, jobs.resume)


def _shown(front: Front, job: Job) -> Answer:
    return job_object(job, organization=front.place.config.organization)


def _wake_supervisor(front: Front) -> None:
    if "supervisor" in front.background:
        front.background["supervisor"].wake()


def _of_job(
    front: Front, request: Request, job_id: str, table: Any, shown: Callable[[Any], Answer], *, limit: int
) -> Answer:
    """A page of what a job has."""
    asked = cursor(request.query_params, default=limit, most=MOST)
    with front.place.database.reading() as session:
        of_job = table.job_id == _found(session, job_id, request).id
        rows, more = page(session, table, of_job, **asdict(asked))
    return listed(rows, shown, has_more=more)


def _changed(front: Front, request: Request, job_id: str, change: Callable[..., Job]) -> Answer:
    """A job after a client's wish."""
    try:
        with front.place.database.writing() as session:
            job = change(session, job_id, project=caller_of(request).project)
    except NotThere:
        raise _no_job(job_id) from None
    except RunError as error:
        raise ApiError(400, str(error), code="invalid_state", headers=NEVER_AGAIN) from None
    _wake_supervisor(front)
    return _shown(front, job)


def _found(session: Session, job_id: str, request: Request) -> Job:
    job = jobs.find(session, job_id, project=caller_of(request).project)
    if job is None:
        raise _no_job(job_id)
    return job


def _no_job(job_id: str) -> ApiError:
    message = f"There is no fine-tuning job '{job_id[:80]}'. List those there are."
    return ApiError(404, message, param="fine_tune_id", code="fine_tune_not_found")


def _filters(words: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """Conditions of a list's query: metadata[k]=v, or metadata=null for jobs without any."""
    found: list[ColumnElement[bool]] = []
    for name, value in words.items():
        pair = _PAIR.fullmatch(name)
        if pair and not set('"\\\0') & set(pair[1] + value):
            found.append(Job.details[pair[1]].as_string() == value)
        elif pair:
            found.append(Job.number < 0)  # no job has such a key or value
        elif value in ("", "null"):
            found.append(cast(Job.details, String) == "{}")
        else:
            message = f"Invalid 'metadata': send metadata[key]=value, or metadata=null, found '{name[:80]}'."
            raise ApiError(400, message, param="metadata", code="invalid_value")
    return found


# --- making one ---


def _create(front: Front, caller: Caller, asked: JobRequest, headers: Mapping[str, str]) -> Job:
    """The new job, or the one that this request made before. Raises ApiError."""
    key, tried = headers.get("idempotency-key", ""), headers.get("x-stainless-retry-count", "")
    if len(key) > _LONGEST_KEY:
        message = f"An Idempotency-Key has at most {_LONGEST_KEY} characters, found {len(key)}. Send a shorter one."
        raise ApiError(400, message, code="invalid_value")
    name, owner = ids.new("ftjob-"), [caller.project, caller.key_id]
    job = Job(id=name, project=caller.project, key_id=caller.key_id, run=name.lower(), status="validating_files")
    job.body_digest = _digest(*owner, asked.model_dump_json())
    job.repeat_key = _digest(*owner, key) if key else None
    job.model, job.suffix, job.method = asked.model, asked.suffix_in_name(), asked.shown_method()
    job.training_file, job.validation_file = asked.training_file, asked.validation_file
    job.seed = secrets.randbits(31) if asked.seed is None else asked.seed
    job.tries = int(tried) if tried.isascii() and tried.isdigit() and len(tried) < 9 else 0
    job.details = asked.metadata or {}
    job.integrations = [one.model_dump(exclude_none=True) for one in asked.integrations or []]
    database = front.place.database
    try:
        with database.writing() as session:
            database.one_at_a_time(session, job.repeat_key or job.body_digest)
            if before := jobs.repeated(session, job):
                return before
            job.base = _base(front, session, asked.model, caller)
            for param, file_id in (("training_file", job.training_file), ("validation_file", job.validation_file)):
                if file_id is not None:
                    _check_file(session, file_id, project=caller.project, param=param)
            jobs.create(session, job)
            return job
    except RunError as error:
        raise ApiError(400, str(error), code="idempotency_key_in_use", headers=NEVER_AGAIN) from None


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _base(front: Front, session: Session, name: str, caller: Caller) -> str:
    """What a job goes on from: a base, or a tuned model of the project, that the key may name."""
    bases = {base: place for base, place in front.place.config.models.items() if caller.may_ask(base)}
    if name in bases:
        return bases[name]
    if name.startswith("ft:") and caller.may_ask(name) and models.find(session, name, project=caller.project):
        return name
    known = f"one of {', '.join(bases)} (of the workspace's models), or " if bases else ""
    message = (
        f"Model '{name[:100]}' is not available for fine-tuning or does not exist. Take {known}a model that a job of "
        "this project made."
    )
    raise ApiError(400, message, param="model", code="model_not_available")


def _check_file(session: Session, file_id: str, *, project: str, param: str) -> None:
    file = files.find(session, file_id, project=project)
    if file is None:
        message = f"Invalid '{param}': there is no file '{file_id}'. Upload it with the purpose 'fine-tune'."
        raise ApiError(400, message, param=param, code="file_not_found")
    if file.purpose != "fine-tune":
        message = f"Invalid '{param}': file {file_id} has the purpose '{file.purpose}'. Upload it as 'fine-tune'."
        raise ApiError(400, message, param=param, code="invalid_file_purpose")
    if file.status == "error":
        message = f"Invalid '{param}': file {file_id} cannot be learned from. {file.status_details or ''}".strip()
        raise ApiError(400, message, param=param, code="invalid_file")


def _refuse_untracked(asked: JobRequest) -> None:
    if asked.integrations and find_spec("wandb") is None:
        message = str(MissingPackage("wandb", needed_for="The integration 'wandb'"))
        raise ApiError(400, f"{message} (on the server), or leave it out.", param="integrations", code="not_installed")
