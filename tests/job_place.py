"""A workspace with a tiny base, and jobs that are put into it and worked on in this process."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tunewright.core.run import Run
from tunewright.workspace import ids, jobs, queue
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Checkpoint, File, Job, JobEvent, Model

ANSWERS = ("card", "fees", "access")
NUMBERS = {"n_epochs": 2, "batch_size": 4}  # hyperparameters of a short job


def chats(num: int, *, start: int = 0) -> list[dict[str, Any]]:
    """Conversations to learn, each different."""
    return [
        {"messages": [{"role": "user", "content": f"question {n}"}, {"role": "assistant", "content": ANSWERS[n % 3]}]}
        for n in range(start, start + num)
    ]


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    """A method in the API's shape."""
    return {"type": "supervised", "supervised": {"hyperparameters": {**NUMBERS, **hyperparameters}}}


@dataclass(frozen=True)
class JobPlace:
    """The workspace and its base."""

    place: Workspace
    base: str

    @classmethod
    def make(cls, folder: Path, base: Path, *, config: str = "") -> JobPlace:
        """A workspace in which the base is called `tiny`. config: more lines of workspace.yaml."""
        (folder / ".tunewright").mkdir(parents=True, exist_ok=True)
        text = f"models: {{tiny: {base}}}\n{config}"
        (folder / ".tunewright" / "workspace.yaml").write_text(text, encoding="utf-8")
        return cls(Workspace.open(folder), str(base))

    def upload(self, rows: list[dict[str, Any]] | str, **values: Any) -> str:
        """A file of rows; its id."""
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        content, name = text.encode(), ids.new("file-")
        (self.place.files / name).write_bytes(content)
        about = {"filename": "rows.jsonl", "purpose": "fine-tune", "bytes": len(content)}
        with self.place.database.writing() as session:
            session.add(File(**{"id": name, "sha256": hashlib.sha256(content).hexdigest(), **about, **values}))
        return name

    def put(
        self, rows: list[dict[str, Any]] | str, *, validation: list[dict[str, Any]] | None = None, **values: Any
    ) -> str:
        """A new job; its id."""
        name = ids.new("ftjob-")
        about: dict[str, Any] = {"model": "tiny", "base": self.base, "run": name.lower(), "status": "validating_files"}
        about |= {"seed": 3, "method": supervised(), "training_file": self.upload(rows)}
        about["validation_file"] = self.upload(validation) if validation else None
        with self.place.database.writing() as session:
            session.add(Job(**{"id": name, **about, **values}))
        return name

    def queued(self, *given: Any, **values: Any) -> str:
        """A new job whose files were looked at."""
        from tunewright.server.validating import validate

        name = self.put(*given, **values)
        validate(self.place, name)
        assert self.job(name).status == "queued", self.job(name).error
        return name

    def take(self, job_id: str) -> int:
        """Begin to work on a job; the attempt."""
        with self.place.database.writing() as session:
            attempt = queue.take(session, job_id, host="here")
        assert attempt is not None
        return attempt

    def work(self, job_id: str, attempt: int | None = None, *, stop: threading.Event | None = None) -> int:
        """Take a queued job and work on it; the exit code."""
        from tunewright.server.working import work

        attempt = self.take(job_id) if attempt is None else attempt
        return work(self.place, job_id, attempt, stop=stop or threading.Event())

    def want(self, job_id: str, wish: str) -> None:
        """Ask for cancel or pause."""
        with self.place.database.writing() as session:
            {"cancel": jobs.want_cancel, "pause": jobs.want_pause}[wish](session, job_id, project="default")

    def job(self, job_id: str) -> Job:
        """The job's row."""
        with self.place.database.reading() as session:
            found = jobs.by_id(session, job_id)
        assert found is not None
        return found

    def run(self, job_id: str) -> Run:
        """The job's run."""
        return Run(self.place.runs / self.job(job_id).run)

    def events(self, job_id: str) -> list[JobEvent]:
        """The job's history, oldest first."""
        with self.place.database.reading() as session:
            told = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.number)
            return list(session.scalars(told))

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Checkpoints that can be asked."""
        with self.place.database.reading() as session:
            rows = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)
            return list(session.scalars(rows))

    def models(self, job_id: str) -> dict[str, Model]:
        """Models that can be asked, by name."""
        with self.place.database.reading() as session:
            rows = session.scalars(select(Model).where(Model.job_id == job_id, Model.deleted.is_(None)))
            return {row.name: row for row in rows}
