"""What comes of a job: checkpoints that can be asked while it goes on, at its end the model and the result file."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from tunewright.core import storage
from tunewright.core.errors import RunError
from tunewright.core.run import Run
from tunewright.server.order import base_name, model_name
from tunewright.stages import checkpointed, job_figures
from tunewright.stages.job_recipe import KEPT_EPOCHS
from tunewright.workspace import files, ids, jobs
from tunewright.workspace.place import Workspace
from tunewright.workspace.queue import Hold
from tunewright.workspace.tables import Checkpoint, File, Job, Model


class Publishing:
    """Called with each event of the run. Raises Stopped when the job was given to another worker."""

    def __init__(self, place: Workspace, hold: Hold, run: Run) -> None:
        self.place, self.hold, self.run = place, hold, run

    def __call__(self, event: dict[str, Any]) -> None:
        """Publish a checkpoint that was saved, and those whose saving was the last that an earlier worker did."""
        done = event["event"] in ("stage_done", "stage_kept") and event["stage"] == "train"
        if done or event["event"] in ("checkpoint", "resume"):
            self.checkpoints()

    def checkpoints(self) -> None:
        """Let the checkpoints of the last epochs be asked; earlier ones are asked no more."""
        ends = checkpointed.ends_of_epochs(self.run)[-KEPT_EPOCHS:]
        with self.hold.database.reading() as session:
            told = set(session.scalars(select(Checkpoint.step).where(Checkpoint.job_id == self.hold.job_id)))
        if set(ends) <= told:
            return
        recipe, figures = self.run.recipe(), job_figures.by_step(self.run)
        for step in [step for step in ends if step not in told]:
            folder = checkpointed.release(recipe, self.run, step)
            storage.failpoint("job.checkpoint")
            with self.hold.writing() as (session, job):
                name = f"{model_name(job, self.place.config.organization)}:ckpt-step-{step}"
                metrics = {"step": step} | figures.get(step, {})
                metrics.pop("total_steps", None)
                row = Checkpoint(id=ids.new("ftckpt_"), job_id=job.id, step=step, model=name, metrics=metrics)
                session.add_all([row, _model(self.place, job, name, folder)])
                jobs.tell(session, job.id, f"checkpoint-{step}", f"Checkpoint created at step {step}")
        with self.hold.writing() as (session, job):
            old = select(Checkpoint.model).where(Checkpoint.job_id == job.id, Checkpoint.step.not_in(ends))
            gone = list(session.scalars(old))
            session.execute(update(Model).where(Model.name.in_(gone)).values(deleted=time.time()))
            session.execute(delete(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step.not_in(ends)))
        checkpointed.forget(self.run, keep=set(ends))

    def model(self, *, tokens: int) -> str:
        """End the job: its model, its result file, its state, all or nothing. The model's name."""
        releases = self.run.releases()
        if not releases:
            raise RunError(f"Run '{self.run.name}' has no release.")
        text = job_figures.table(self.run).encode()
        file_id = f"file-{hashlib.sha256(f'results of {self.hold.job_id}'.encode()).hexdigest()[:24]}"
        storage.write_bytes(self.place.files / file_id, text)
        storage.failpoint("job.result")
        with self.hold.writing() as (session, job):
            name = model_name(job, self.place.config.organization)
            file = File(id=file_id, project=job.project, filename="step_metrics.csv", purpose=files.RESULTS)
            file.bytes, file.sha256 = len(text), hashlib.sha256(text).hexdigest()
            session.add_all([file, _model(self.place, job, name, releases[-1])])
            jobs.tell(session, job.id, "model", f"New fine-tuned model created: {name}")
            jobs.tell(session, job.id, "succeeded", "The job has successfully completed")
            result: dict[str, Any] = {"fine_tuned_model": name, "trained_tokens": tokens, "result_files": [file_id]}
            ended = {"wanted": None, "lease": None, "estimated_finish": None}
            jobs.move(session, job.id, since=["running"], to="succeeded", **result, **ended)
        storage.failpoint("job.done")
        return name


def _model(place: Workspace, job: Job, name: str, folder: Path) -> Model:
    row = Model(name=name, project=job.project, job_id=job.id, base=base_name(job))
    row.folder = folder.relative_to(place.runs).as_posix()
    return row
