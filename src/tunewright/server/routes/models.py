"""Which models there are, and tuned ones taken away."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from tunewright.core.errors import TunewrightError
from tunewright.models.bases import WEIGHTS
from tunewright.models.release import can_part
from tunewright.server.caller import caller_of
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError
from tunewright.server.routing import needs
from tunewright.workspace.models import delete
from tunewright.workspace.names import Known

SHOWN = ("run", "release", "base", "verdict", "override")


def add(api: APIRouter, front: Front) -> None:
    """/v1/models."""

    @api.get("/v1/models")
    @needs("infer")
    def list_models(request: Request) -> dict[str, Any]:
        caller = caller_of(request)
        known = [one for one in front.models.names.listed(caller.project) if caller.may_ask(one.name)]
        parted = [one for one in known if can_part(one.about) and caller.may_ask(one.name + WEIGHTS)]
        data = [_shown(front, one) for one in known] + [_shown(front, one, WEIGHTS) for one in parted]
        return {"object": "list", "data": data, "has_more": False}

    @api.get("/v1/models/{name:path}")
    @needs("infer")
    def one_model(request: Request, name: str) -> dict[str, Any]:
        caller = caller_of(request)
        plain = name.removesuffix(WEIGHTS)
        known = front.models.names.one(plain, caller.project) if caller.may_ask(name) else None
        if known is None or (plain != name and not can_part(known.about)):
            raise front.models.no_model(name, caller)
        return _shown(front, known, name.removeprefix(plain))

    if front.workspace is None:
        return

    @api.delete("/v1/models/{name:path}")
    @needs("train")
    def delete_model(request: Request, name: str) -> dict[str, Any]:
        caller = caller_of(request)
        if not caller.may_ask(name):
            raise front.models.no_model(name, caller)
        try:
            with front.place.database.writing() as session:
                deleted = delete(session, name, project=caller.project)
        except TunewrightError as error:
            raise ApiError(409, str(error), param="model", code="model_in_use") from None
        if not deleted:
            if front.models.names.one(name, caller.project) is None:
                raise front.models.no_model(name, caller)
            message = f"'{name}' is not a tuned model of this project's jobs. Only those are deleted here."
            raise ApiError(403, message, type="permission_error", param="model", code="not_deletable")
        front.models.forget()
        return {"id": name, "object": "model", "deleted": True}


def _shown(front: Front, known: Known, ending: str = "") -> dict[str, Any]:
    """A model object of the API; what is our own stands in `tunewright`."""
    about = known.about
    extra = {key: about[key] for key in SHOWN if about.get(key) is not None}
    if "decode" in about:
        extra["decode"] = "generate" if ending else about["decode"]["kind"]
    if known.shares is not None:
        extra["shares"] = dict(known.shares)
    if problem := front.models.refusal(known.release):
        extra["problem"] = problem
    owner = front.workspace.config.organization if front.workspace else "tunewright"
    name = known.name + ending
    return {"id": name, "object": "model", "created": known.created, "owned_by": owner, "tunewright": extra}
