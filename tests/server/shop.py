"""A server over a workspace, in a thread of the test process, so that tests may also look into its database."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from openai import OpenAI
from sqlalchemy import delete

from tunewright.core import storage
from tunewright.core.run import Run
from tunewright.server.app import build
from tunewright.server.front import Front
from tunewright.server.listening import listen
from tunewright.server.registry import Registry
from tunewright.workspace import ids, jobs
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Checkpoint, File, Job, JobEvent, Model, Permission

JUDGED = ['{"reason": "so", "result": 1, "label": "good"}', '{"reason": "not so", "result": 0, "label": "bad"}']


@dataclass
class Shop:
    """A served workspace."""

    workspace: Workspace
    url: str

    def client(self, **options: Any) -> OpenAI:
        """The official client."""
        return OpenAI(base_url=f"{self.url}/v1", api_key="none", **({"max_retries": 0, "timeout": 30} | options))

    @cached_property
    def plain(self) -> httpx.Client:
        """For requests without the client's help."""
        return httpx.Client(base_url=f"{self.url}/v1", timeout=30)

    @cached_property
    def one_client(self) -> OpenAI:
        """A client for many calls."""
        return self.client()

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A plain request; names of headers with _ for -."""
        plain = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.plain.post(path.lstrip("/"), json=body, headers=plain)

    def get(self, path: str) -> httpx.Response:
        """A plain request."""
        return self.plain.get(path.lstrip("/"))

    def file(self, **values: Any) -> str:
        """A file as an upload leaves it."""
        turn = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
        content = (json.dumps({"messages": turn}) + "\n").encode() * 12
        plain = {"id": ids.new("file-"), "filename": "train.jsonl", "purpose": "fine-tune", "bytes": len(content)}
        row = File(**(plain | {"sha256": hashlib.sha256(content).hexdigest()} | values))
        storage.write_bytes(self.workspace.files / row.id, content)
        with self.workspace.database.writing() as session:
            session.add(row)
        return row.id

    def set(self, job_id: str, **values: Any) -> None:
        """What a worker would write."""
        with self.workspace.database.writing() as session:
            job = session.query(Job).where(Job.id == job_id).one()
            for name, value in values.items():
                setattr(job, name, value)

    def finish(self, job_id: str, *, checkpoints: int = 2) -> str:
        """Let a job succeed, as a worker would tell it; the name of its model."""
        name = f"ft:nano:local:{job_id[-8:].lower()}"
        metrics = {"train_loss": 0.5, "train_mean_token_accuracy": 0.9}
        with self.workspace.database.writing() as session:
            jobs.move(session, job_id, since=jobs.WAITING, to="running", started=time.time())
            for step in range(1, checkpoints + 1):
                data = {"step": step, **metrics}
                jobs.tell(session, job_id, f"step-{step}", f"Step {step}", data=data)
                session.add(
                    Checkpoint(
                        id=ids.new("ftckpt_"),
                        job_id=job_id,
                        step=step,
                        model=f"{name}:ckpt-step-{step}",
                        metrics=metrics,
                    )
                )
            for named in [name, *(f"{name}:ckpt-step-{step}" for step in range(1, checkpoints + 1))]:
                session.add(Model(name=named, job_id=job_id, folder="run/releases/001", base="nano"))
            ended = {"fine_tuned_model": name, "trained_tokens": 1234, "result_files": ["file-results"]}
            jobs.move(session, job_id, since=["running"], to="succeeded", **ended)
        return name

    def clear(self) -> None:
        """Take all jobs away."""
        with self.workspace.database.writing() as session:
            for table in (Job, JobEvent, Checkpoint, Model, Permission):
                session.execute(delete(table))


@contextmanager
def shop_of(folder: Path, *, runs: Sequence[Path] = ()) -> Iterator[Shop]:
    """Serve a workspace for a while, and some runs with it. Nobody works on its jobs: tests say what a worker would."""
    workspace = Workspace.open(folder)
    idle = workspace.config.jobs.model_copy(update={"at_once": 0})
    workspace = replace(workspace, config=workspace.config.model_copy(update={"jobs": idle}))
    models = Registry([Run.open(run) for run in runs], bases=workspace.config.models)
    with served(Front(models, workspace=workspace)) as url:
        yield Shop(workspace, url)


@contextmanager
def served(front: Front) -> Iterator[str]:
    """The address at which a thread of this process answers: there much sooner than a process of its own."""
    front.models.start()
    server = uvicorn.Server(uvicorn.Config(build(front), log_config=None, timeout_graceful_shutdown=5))
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()
