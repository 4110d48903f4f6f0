"""Evals: what is measured, made, changed and deleted; their runs, and the items of these."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session

from tunewright.core import openai_graders
from tunewright.core.errors import RunError
from tunewright.core.openai_graders import LabelModel, ScoreModel
from tunewright.server import eval_rows, grading, protocol
from tunewright.server.caller import Caller, caller_of
from tunewright.server.evaluating import NAME, Evaluating
from tunewright.server.front import Front
from tunewright.server.paging import cursor, listed, page
from tunewright.server.protocol import ApiError, ChatRequest, parse
from tunewright.server.routing import needs
from tunewright.server.wire.evals import (
    DataSource,
    EvalChange,
    EvalRequest,
    RunRequest,
    eval_object,
    item_object,
    run_object,
)
from tunewright.workspace import evals, files, ids
from tunewright.workspace.tables import Eval, EvalItem, EvalRun

LIMIT, MOST = 20, 100  # rows of a page
_FINAL = {"x-should-retry": "false"}  # as the API's client reads it

Answer = dict[str, Any]


def add(api: APIRouter, front: Front) -> None:
    """/v1/evals, and the work on their runs."""
    work = Evaluating(front)
    front.background[NAME] = work
    _add_evals(api, front)
    _add_runs(api, front, work)
    _add_ends(api, front, work)


def _add_evals(api: APIRouter, front: Front) -> None:
    @api.post("/v1/evals")
    @needs("train")
    async def create(request: Request) -> Answer:
        asked, caller = parse(EvalRequest, await request.body()), caller_of(request)
        for number, given in enumerate(asked.testing_criteria):
            await grading.check(front, caller, given, param=f"testing_criteria.{number}", rewards=False)
        return eval_object(await asyncio.to_thread(_create, front, caller, asked))

    @api.get("/v1/evals")
    @needs("train")
    def list_evals(request: Request) -> Answer:
        query = request.query_params
        asked = cursor(query, default=LIMIT, most=MOST, others=("order_by",), newest_first=False)
        by = _choice(query.get("order_by", "created_at"), "order_by", ("created_at", "updated_at"))
        column = Eval.updated if by == "updated_at" else None
        with front.place.database.reading() as session:
            ours = Eval.project == caller_of(request).project
            rows, more = page(session, Eval, ours, by=column, **asdict(asked))
        return listed(rows, eval_object, has_more=more)

    @api.get("/v1/evals/{eval_id}")
    @needs("train")
    def retrieve(request: Request, eval_id: str) -> Answer:
        with front.place.database.reading() as session:
            return eval_object(_eval(session, request, eval_id))

    @api.post("/v1/evals/{eval_id}")
    @needs("train")
    async def change(request: Request, eval_id: str) -> Answer:
        asked = parse(EvalChange, await request.body())
        return eval_object(await asyncio.to_thread(_change, front, request, eval_id, asked))


def _add_runs(api: APIRouter, front: Front, work: Evaluating) -> None:
    @api.post("/v1/evals/{eval_id}/runs")
    @needs("train")
    async def create_run(request: Request, eval_id: str) -> Answer:
        asked = parse(RunRequest, await request.body())
        held = await asyncio.to_thread(_read_eval, front, request, eval_id)
        await _check(front, caller_of(request), held, asked.data_source)
        run = await asyncio.to_thread(_create_run, front, caller_of(request), held, asked)
        work.wake()
        return _shown(request, held, run)

    @api.get("/v1/evals/{eval_id}/runs")
    @needs("train")
    def list_runs(request: Request, eval_id: str) -> Answer:
        query = request.query_params
        asked = cursor(query, default=LIMIT, most=MOST, others=("status",), newest_first=False)
        with front.place.database.reading() as session:
            held = _eval(session, request, eval_id)
            where = [EvalRun.eval_id == held.id]
            if "status" in query:
                where.append(EvalRun.status == _choice(query["status"], "status", evals.STATUSES))
            rows, more = page(session, EvalRun, *where, **asdict(asked), size=lambda run: len(json.dumps(run.source)))
        return listed(rows, lambda run: _shown(request, held, run), has_more=more)

    @api.get("/v1/evals/{eval_id}/runs/{run_id}")
    @needs("train")
    def retrieve_run(request: Request, eval_id: str, run_id: str) -> Answer:
        with front.place.database.reading() as session:
            held, run = _eval(session, request, eval_id), _run(session, request, eval_id, run_id)
        return _shown(request, held, run)

    @api.get("/v1/evals/{eval_id}/runs/{run_id}/output_items")
    @needs("train")
    def items(request: Request, eval_id: str, run_id: str) -> Answer:
        query = request.query_params
        asked = cursor(query, default=LIMIT, most=MOST, others=("status",), newest_first=False)
        wanted = (_choice(query["status"], "status", evals.OVER),) if "status" in query else evals.OVER
        with front.place.database.reading() as session:
            run = _run(session, request, eval_id, run_id)
            where = (EvalItem.run_id == run.id, EvalItem.status.in_(wanted))
            shown = partial(item_object, eval_id=run.eval_id)
            rows, more = page(session, EvalItem, *where, **asdict(asked), size=lambda row: len(json.dumps(shown(row))))
        return listed(rows, shown, has_more=more)

    @api.get("/v1/evals/{eval_id}/runs/{run_id}/output_items/{item_id}")
    @needs("train")
    def item(request: Request, eval_id: str, run_id: str, item_id: str) -> Answer:
        with front.place.database.reading() as session:
            run = _run(session, request, eval_id, run_id)
            row = evals.find_item(session, run.id, item_id)
        if row is None:
            raise _nothing("output item", item_id)
        return item_object(row, eval_id=run.eval_id)


def _add_ends(api: APIRouter, front: Front, work: Evaluating) -> None:
    """What ends a run or an eval."""

    def cancel(request: Request, eval_id: str, run_id: str) -> Answer:
        with front.place.database.writing() as session:
            held, run = _eval(session, request, eval_id), _run(session, request, eval_id, run_id)
            try:
                evals.cancel(session, run)
            except RunError as error:
                raise ApiError(400, str(error), code="invalid_state", headers=_FINAL) from None
        work.give_up(run.id)
        return _shown(request, held, run)

    @api.post("/v1/evals/{eval_id}/runs/{run_id}/cancel")
    @needs("train")
    def cancel_run(request: Request, eval_id: str, run_id: str) -> Answer:
        return cancel(request, eval_id, run_id)

    @api.post("/v1/evals/{eval_id}/runs/{run_id}")  # as earlier clients have it
    @needs("train")
    def cancel_as_before(request: Request, eval_id: str, run_id: str) -> Answer:
        return cancel(request, eval_id, run_id)

    @api.delete("/v1/evals/{eval_id}/runs/{run_id}")
    @needs("train")
    def delete_run(request: Request, eval_id: str, run_id: str) -> Answer:
        with front.place.database.writing() as session:
            evals.remove_run(session, _run(session, request, eval_id, run_id).id)
        work.give_up(run_id)
        return {"object": "eval.run.deleted", "deleted": True, "run_id": run_id}

    @api.delete("/v1/evals/{eval_id}")
    @needs("train")
    def delete(request: Request, eval_id: str) -> Answer:
        with front.place.database.writing() as session:
            gone = evals.remove(session, _eval(session, request, eval_id).id)
        for run_id in gone:
            work.give_up(run_id)
        return {"object": "eval.deleted", "deleted": True, "eval_id": eval_id}


# --- looking things up ---


def _shown(request: Request, held: Eval, run: EvalRun) -> Answer:
    criteria = [str(one["name"]) for one in held.criteria]
    return run_object(run, criteria=criteria, base_url=str(request.base_url))


def _nothing(what: str, name: str) -> ApiError:
    return ApiError(404, f"There is no {what} '{name[:80]}'. List those there are.", code="not_found")


def _eval(session: Session, request: Request, eval_id: str) -> Eval:
    found = evals.find(session, eval_id, project=caller_of(request).project)
    if found is None:
        raise _nothing("eval", eval_id)
    return found


def _read_eval(front: Front, request: Request, eval_id: str) -> Eval:
    with front.place.database.reading() as session:
        return _eval(session, request, eval_id)


def _run(session: Session, request: Request, eval_id: str, run_id: str) -> EvalRun:
    found = evals.find_run(session, eval_id, run_id, project=caller_of(request).project)
    if found is None:
        raise _nothing("run of an eval", run_id)
    return found


def _choice(given: str, param: str, known: tuple[str, ...]) -> str:
    if given not in known:
        message = f"Invalid '{param}': it must be one of {', '.join(known)}, found '{given[:40]}'."
        raise ApiError(400, message, param=param, code="invalid_value")
    return given


# --- making and changing ---


def _create(front: Front, caller: Caller, asked: EvalRequest) -> Eval:
    now = time.time()
    row = Eval(id=ids.new("eval_"), project=caller.project, created=now, updated=now)
    row.name, row.details = asked.name or "", asked.metadata or {}
    row.config = asked.data_source_config.model_dump()
    row.criteria = asked.testing_criteria
    with front.place.database.writing() as session:
        session.add(row)
    return row


def _change(front: Front, request: Request, eval_id: str, asked: EvalChange) -> Eval:
    with front.place.database.writing() as session:
        row = _eval(session, request, eval_id)
        if "name" in asked.model_fields_set:
            row.name = asked.name or ""
        if "metadata" in asked.model_fields_set:
            row.details = asked.metadata or {}
        row.updated = time.time()
    return row


async def _check(front: Front, caller: Caller, held: Eval, source: DataSource) -> None:
    """Refuse a run that could not go on: without its file or model, or with parameters that nothing carries out."""
    graders = [openai_graders.read(one) for one in held.criteria]
    asks = source.model is not None or any(isinstance(one, ScoreModel | LabelModel) for one in graders)
    if asks and not caller.may("infer"):
        message = "This key may not do that: the run asks a model, and the key lacks the scope 'infer'."
        raise ApiError(403, f"{message} Ask for a key that has it.", type="permission_error", code="scope_missing")
    if source.source.id is not None:
        await asyncio.to_thread(_check_file, front, caller, source.source.id)
    if source.model is None:
        return
    asked = source.options() | {"messages": [{"role": "user", "content": "-"}]}
    try:
        checked = parse(ChatRequest, json.dumps(asked).encode())
        await asyncio.to_thread(protocol.grammar, checked)
    except ApiError as error:
        param = error.body["error"]["param"]
        raise ApiError(
            400, str(error), param=f"data_source.sampling_params.{param}", code=error.body["error"]["code"]
        ) from None
    if not await front.models.has(source.model, caller=caller):
        missing = await asyncio.to_thread(front.models.no_model, source.model, caller)
        raise ApiError(400, str(missing), param="data_source.model", code="model_not_found")


def _check_file(front: Front, caller: Caller, file_id: str) -> None:
    with front.place.database.reading() as session:
        file = files.find(session, file_id, project=caller.project)
    wrong = None
    if file is None:
        wrong = f"There is no file '{file_id[:80]}'. Upload it with the purpose 'evals'."
    elif file.bytes > eval_rows.MOST_BYTES:
        most = eval_rows.MOST_BYTES // 2**20
        wrong = f"A run reads a file of at most {most} MiB; {file_id} is larger. Measure with fewer rows."
    if wrong:
        raise ApiError(400, wrong, param="data_source.source.id", code="invalid_value")


def _create_run(front: Front, caller: Caller, held: Eval, asked: RunRequest) -> EvalRun:
    source = asked.data_source
    row = EvalRun(id=ids.new("evalrun_"), project=caller.project, eval_id=held.id, key_id=caller.key_id)
    row.name, row.details, row.status = asked.name or "", asked.metadata or {}, "queued"
    row.model, row.source = source.model or "", source.model_dump(mode="json", exclude_unset=True)
    seed = (source.sampling_params or {}).get("seed")
    row.seed = secrets.randbits(31) if seed is None else seed
    row.created, row.tallies = time.time(), {}
    with front.place.database.writing() as session:
        if evals.find(session, held.id, project=caller.project) is None:  # it may have been deleted meanwhile
            raise _nothing("eval", held.id)
        session.add(row)
    return row
