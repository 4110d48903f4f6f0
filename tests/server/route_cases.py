"""How every route of a server is asked: what it names, what its body is. A new route needs a line in CASES.

`Of("file")` stands for the id of a thing that `MAKERS["file"]` makes in some project.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import select

from tunewright.core import storage
from tunewright.server.routing import Guarded
from tunewright.workspace import ids, keys, webhook_endpoints
from tunewright.workspace.alias_changes import Aliases
from tunewright.workspace.tables import Eval, EvalItem, EvalRun, Feedback, File, Job, Model, Traffic, Upload

from .conftest import Place
from .locked import Locked


@dataclass(frozen=True)
class Of:
    """The place of a thing's id."""

    kind: str


@dataclass(frozen=True)
class Case:
    """How one route is asked.

    path: its parameters. body: of a good request. model: what the body is parsed into, `module:Class` of
    tunewright.server. form: the body is a form, with these as files. hidden: what is answered where a thing that is
    named is another project's. lists: whose ids it tells.
    """

    path: Mapping[str, Of] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    model: str | None = None
    form: Mapping[str, bytes] | None = None
    hidden: int = 404
    lists: str | None = None
    works: bool = True  # with a thing of its own project; else it is refused for another reason

    @property
    def kinds(self) -> list[str]:
        """The things that it names."""
        return [*(of.kind for of in self.path.values()), *(of.kind for of in _places(self.body))]

    def request_model(self) -> type[BaseModel]:
        """The class of its body."""
        module, _, name = str(self.model).partition(":")
        found: type[BaseModel] = getattr(importlib.import_module(f"tunewright.server.{module}"), name)
        return found

    def request(self, named: Mapping[str, str]) -> dict[str, Any]:
        """Options of a client's request, with these things put in."""
        body = _filled(self.body, named)
        if self.form is not None:
            return {"data": body or {}, "files": {name: ("a.jsonl", content) for name, content in self.form.items()}}
        return {} if body is None else {"json": body}

    def url(self, route: Guarded, named: Mapping[str, str]) -> str:
        """The route's path with these things in it."""
        path = route.path.replace(":path}", "}")
        return path.format(**{name: named[of.kind] for name, of in self.path.items()})


HELLO = [{"role": "user", "content": "hello"}]
CHECK = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "a", "operation": "eq"}
PERMISSIONS = "/v1/fine_tuning/checkpoints/{name:path}/permissions"
JOB = {"job_id": Of("job")}
FILE = {"file_id": Of("file")}
UPLOAD = {"upload_id": Of("upload")}
WEBHOOK = {"endpoint_id": Of("webhook")}
EVAL = {"eval_id": Of("eval")}
EVAL_RUN = EVAL | {"run_id": Of("evalrun")}
CASES: dict[str, Case] = {
    "GET /healthz": Case(),
    "GET /metrics": Case(),
    "GET /v1/models": Case(),
    "GET /v1/models/{name:path}": Case(path={"name": Of("base")}),
    "DELETE /v1/models/{name:path}": Case(path={"name": Of("model")}),
    "POST /v1/aliases": Case(body={"name": "x", "shares": {"tiny": 1.0}}, model="wire.aliases:Setting"),
    "GET /v1/aliases": Case(),
    "GET /v1/aliases/{name}": Case(path={"name": Of("alias")}),
    "POST /v1/aliases/{name}/promote": Case(
        path={"name": Of("alias")}, body={"model": "tiny"}, model="wire.aliases:Promoting"
    ),
    "POST /v1/aliases/{name}/rollback": Case(
        path={"name": Of("alias")}, body={}, model="wire.aliases:Body", works=False
    ),
    "DELETE /v1/aliases/{name}": Case(path={"name": Of("alias")}),
    "POST /v1/chat/completions": Case(
        body={"model": Of("base"), "messages": HELLO, "max_tokens": 2}, model="protocol:ChatRequest"
    ),
    "POST /v1/completions": Case(
        body={"model": Of("base"), "prompt": "x", "max_tokens": 2}, model="protocol:CompletionRequest"
    ),
    "POST /v1/embeddings": Case(
        body={"model": Of("base"), "input": ["x"]}, model="embeddings:EmbeddingsRequest", works=False
    ),
    "POST /v1/keys": Case(body={"name": "x", "scopes": ["infer"]}, model="wire.keys:KeyRequest"),
    "GET /v1/keys": Case(lists="key"),
    "GET /v1/keys/{key_id}": Case(path={"key_id": Of("key")}),
    "DELETE /v1/keys/{key_id}": Case(path={"key_id": Of("key")}),
    "POST /v1/files": Case(body={"purpose": "user_data"}, form={"file": b"x"}),
    "GET /v1/files": Case(lists="file"),
    "GET /v1/files/{file_id}": Case(path=FILE),
    "GET /v1/files/{file_id}/content": Case(path=FILE),
    "DELETE /v1/files/{file_id}": Case(path=FILE),
    "POST /v1/uploads": Case(
        body={"bytes": 3, "filename": "a", "mime_type": "text/plain", "purpose": "batch"}, model="wire.files:NewUpload"
    ),
    "POST /v1/uploads/{upload_id}/parts": Case(path=UPLOAD, form={"data": b"x"}),
    "POST /v1/uploads/{upload_id}/complete": Case(
        path=UPLOAD, body={"part_ids": ["part_x"]}, model="wire.files:Complete", works=False
    ),
    "POST /v1/uploads/{upload_id}/cancel": Case(path=UPLOAD),
    "POST /v1/fine_tuning/jobs": Case(
        body={"model": "tiny", "training_file": Of("file")}, model="wire.jobs:JobRequest", hidden=400
    ),
    "GET /v1/fine_tuning/jobs": Case(lists="job"),
    "GET /v1/fine_tuning/jobs/{job_id}": Case(path=JOB),
    "GET /v1/fine_tuning/jobs/{job_id}/events": Case(path=JOB),
    "GET /v1/fine_tuning/jobs/{job_id}/checkpoints": Case(path=JOB),
    "POST /v1/fine_tuning/jobs/{job_id}/cancel": Case(path=JOB),
    "POST /v1/fine_tuning/jobs/{job_id}/pause": Case(path=JOB),
    "POST /v1/fine_tuning/jobs/{job_id}/resume": Case(path=JOB, works=False),
    f"POST {PERMISSIONS}": Case(
        path={"name": Of("model")}, body={"project_ids": ["a"]}, model="wire.permissions:PermissionRequest"
    ),
    f"GET {PERMISSIONS}": Case(path={"name": Of("model")}),
    f"DELETE {PERMISSIONS}/{{permission_id}}": Case(
        path={"name": Of("model"), "permission_id": Of("permission")}, works=False
    ),
    "POST /v1/fine_tuning/alpha/graders/run": Case(
        body={"grader": CHECK, "model_sample": "a"}, model="wire.graders:GraderRunRequest"
    ),
    "POST /v1/fine_tuning/alpha/graders/validate": Case(
        body={"grader": CHECK}, model="wire.graders:GraderValidateRequest"
    ),
    "POST /v1/evals": Case(
        body={"data_source_config": {"type": "custom", "item_schema": {"type": "object"}}, "testing_criteria": [CHECK]},
        model="wire.evals:EvalRequest",
    ),
    "GET /v1/evals": Case(lists="eval"),
    "GET /v1/evals/{eval_id}": Case(path=EVAL),
    "POST /v1/evals/{eval_id}": Case(path=EVAL, body={"name": "x"}, model="wire.evals:EvalChange"),
    "DELETE /v1/evals/{eval_id}": Case(path=EVAL),
    "POST /v1/evals/{eval_id}/runs": Case(
        path=EVAL,
        body={"data_source": {"type": "jsonl", "source": {"type": "file_content", "content": [
            {"item": {"a": 1}, "sample": {"output_text": "a"}}]}}},
        model="wire.evals:RunRequest",
    ),
    "GET /v1/evals/{eval_id}/runs": Case(path=EVAL),
    "GET /v1/evals/{eval_id}/runs/{run_id}": Case(path=EVAL_RUN),
    "POST /v1/evals/{eval_id}/runs/{run_id}": Case(path=EVAL_RUN),
    "POST /v1/evals/{eval_id}/runs/{run_id}/cancel": Case(path=EVAL_RUN),
    "DELETE /v1/evals/{eval_id}/runs/{run_id}": Case(path=EVAL_RUN),
    "GET /v1/evals/{eval_id}/runs/{run_id}/output_items": Case(path=EVAL_RUN),
    "GET /v1/evals/{eval_id}/runs/{run_id}/output_items/{item_id}": Case(path=EVAL_RUN | {"item_id": Of("item")}),
    "POST /v1/feedback": Case(
        body={"id": Of("answer"), "thumb": "up"}, model="wire.feedback:FeedbackRequest"
    ),
    "GET /v1/feedback": Case(lists="feedback"),
    "GET /v1/monitor": Case(lists="look"),
    "GET /v1/webhook_event_types": Case(),
    "POST /v1/webhook_endpoints": Case(
        body={"name": "x", "url": "https://192.0.32.8/", "event_types": ["fine_tuning.job.failed"]},
        model="wire.webhooks:EndpointRequest",
    ),
    "GET /v1/webhook_endpoints": Case(lists="webhook"),
    "GET /v1/webhook_endpoints/{endpoint_id}": Case(path=WEBHOOK),
    "POST /v1/webhook_endpoints/{endpoint_id}": Case(
        path=WEBHOOK, body={"name": "y"}, model="wire.webhooks:EndpointChange"
    ),
    "DELETE /v1/webhook_endpoints/{endpoint_id}": Case(path=WEBHOOK),
    "POST /v1/webhook_endpoints/{endpoint_id}/rotate_secret": Case(
        path=WEBHOOK, body={}, model="wire.webhooks:Rotation"
    ),
    "POST /v1/webhook_endpoints/{endpoint_id}/test": Case(
        path=WEBHOOK, body={"event_type": "fine_tuning.job.failed"}, model="wire.webhooks:Trial", works=False
    ),
}  # fmt: skip


def _key(locked: Locked, project: str) -> str:
    with locked.front.place.database.writing() as session:
        return keys.create(session, name="thing", project=project).row.id


def _file(locked: Locked, project: str) -> str:
    row = File(id=ids.new("file-"), project=project, filename="a.jsonl", purpose="fine-tune", bytes=2, sha256="0")
    storage.write_text(locked.front.place.files / row.id, "{}")
    return keep(locked, row)


def _upload(locked: Locked, project: str) -> str:
    row = Upload(id=ids.new("upload_"), project=project, filename="a", purpose="batch", bytes=3)
    row.mime_type, row.status, row.expires = "text/plain", "pending", time.time() + 3600
    return keep(locked, row)


def _job(locked: Locked, project: str) -> str:
    row = Job(id=ids.new("ftjob-"), project=project, model="tiny", base="tiny", status="queued", seed=1, method={})
    row.run, row.training_file = row.id.lower(), "file-x"
    row.method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    return keep(locked, row)


def _model(locked: Locked, project: str) -> str:
    """A name of a release that all of them share."""
    place = Place(locked.front.place.runs, Path(locked.front.place.config.models["tiny"]))
    if not (place.runs / "made").exists():
        place.release("made", 1)
    row = Model(name=f"ft:tiny:local::{ids.new('')}", project=project, folder="made/releases/001", base="tiny")
    keep(locked, row)
    return row.name


def _answer(locked: Locked, project: str) -> str:
    row = Traffic(id=ids.new("chatcmpl-"), project=project, model="tiny", release="tiny", fingerprint="f", seconds=0.1)
    row.prompt_tokens, row.completion_tokens, row.finish = 1, 1, "stop"
    return keep(locked, row)


def _feedback(locked: Locked, project: str) -> str:
    return keep(locked, Feedback(id=ids.new("feedback-"), traffic_id="chatcmpl-x", project=project, thumb="up"))


def _look(locked: Locked, project: str) -> str:
    """A look at a release that answers under a name of the project."""
    run = f"look-{ids.new('').lower()}"
    folder = locked.front.place.runs / run
    storage.write_json(folder / "run.json", {"name": run})
    storage.write_json(folder / "releases" / "001" / "manifest.json", {})
    look = {"time": 1.0, "looked": 1.0, "release": f"{run}:001", "requests": 1, "alarms": [], "figures": {}}
    storage.write_jsonl(folder / "monitor" / "looks.jsonl", [look])
    name = f"ft:tiny:local::{ids.new('')}"
    keep(locked, Model(name=name, project=project, folder=f"{run}/releases/001", base="tiny"))
    row = Traffic(id=ids.new("chatcmpl-"), project=project, model=name, release=name, fingerprint="f", seconds=0.1)
    row.prompt_tokens, row.completion_tokens, row.finish = 1, 1, "stop"
    keep(locked, row)
    return f"{run}:001"


def _eval(locked: Locked, project: str) -> str:
    row = Eval(id=ids.new("eval_"), project=project, name="x", criteria=[CHECK])
    row.config = {"type": "custom", "item_schema": {"type": "object"}}
    return keep(locked, row)


def _eval_run(locked: Locked, project: str) -> str:
    """Of the project's newest eval; a process that is elsewhere works on it."""
    row = EvalRun(id=ids.new("evalrun_"), project=project, eval_id=_newest(locked, Eval, Eval.project == project))
    row.name, row.model, row.seed, row.status = "x", "", 1, "in_progress"
    row.source = {"type": "jsonl", "source": {"type": "file_id", "id": "file-x"}}
    row.holder, row.lease = "elsewhere 1 2", time.time() + 3600
    return keep(locked, row)


def _item(locked: Locked, project: str) -> str:
    """Of the project's newest run."""
    run = _newest(locked, EvalRun, EvalRun.project == project)
    row = EvalItem(id=ids.new("outputitem_"), run_id=run, place=0, status="pass", item={"a": 1}, sample={}, results=[])
    return keep(locked, row)


def _newest(locked: Locked, table: Any, where: Any) -> str:
    with locked.front.place.database.reading() as session:
        return str(session.scalar(select(table.id).where(where).order_by(table.number.desc())))


def _alias(locked: Locked, project: str) -> str:
    name = ids.new("").lower()
    Aliases(locked.front.place, project=project).set(name, {"tiny": 1.0})
    return name


def _webhook(locked: Locked, project: str) -> str:
    """An address that nothing is ever sent to."""
    place, about = locked.front.place, {"name": "x", "events": ["fine_tuning.job.failed"], "project": project}
    with place.database.writing() as session:
        return webhook_endpoints.create(place, session, url="https://127.0.0.1/", **about).id


MAKERS: dict[str, Callable[[Locked, str], str]] = {
    "base": lambda locked, project: "tiny",  # of all projects
    "key": _key,
    "file": _file,
    "upload": _upload,
    "job": _job,
    "model": _model,
    "answer": _answer,
    "feedback": _feedback,
    "look": _look,
    "alias": _alias,
    "webhook": _webhook,
    "eval": _eval,
    "evalrun": _eval_run,
    "item": _item,
    "permission": lambda locked, project: ids.new("cp_"),
}
NOWHERE = {kind: ids.new(f"{kind}-") for kind in MAKERS}
SHARED = {"base"}  # what all projects have


def table(app: FastAPI) -> dict[str, Guarded]:
    """Every route of an application by method and path."""
    routes = [route for route in app.routes if isinstance(route, Guarded)]
    assert len(routes) == len(app.routes), "a route that is no Guarded: nothing checks who asks it"
    return {f"{method} {route.path}": route for route in routes for method in sorted(route.methods or ())}


def keep(locked: Locked, row: Any) -> str:
    """Put a row into the database; its id."""
    with locked.front.place.database.writing() as session:
        session.add(row)
    return str(getattr(row, "id", ""))


def _places(value: Any) -> Iterator[Of]:
    if isinstance(value, Of):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _places(one)
    elif isinstance(value, list):
        for one in value:
            yield from _places(one)


def _filled(value: Any, named: Mapping[str, str]) -> Any:
    if isinstance(value, Of):
        return named[value.kind]
    if isinstance(value, Mapping):
        return {name: _filled(one, named) for name, one in value.items()}
    return [_filled(one, named) for one in value] if isinstance(value, list) else value
