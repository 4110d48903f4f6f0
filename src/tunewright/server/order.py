"""What a job's row asks for, as an order that a recipe is made of; its files lie in the run, where they outlive
deletion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunewright.core import storage
from tunewright.core.errors import NotThere
from tunewright.models.bases import BUNDLED, WEIGHTS, base_folder
from tunewright.stages import job_rows
from tunewright.stages.job_recipe import Order, format_of, grading_models
from tunewright.workspace import aliases, keys, models
from tunewright.workspace.config import named
from tunewright.workspace.names import Names
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import File, Job

ADDRESS, KEY = "TUNEWRIGHT_JOB_SERVER", "TUNEWRIGHT_JOB_KEY"  # by which a job's process knows the server and its key
SERVER = {"url": f"env:{ADDRESS}", "key": f"env:{KEY}"}


class NoFile(NotThere):
    """A file that a job names is gone. param: training_file or validation_file."""

    def __init__(self, param: str, file_id: str) -> None:
        self.param = param
        super().__init__(f"The file {file_id} was deleted or has expired. Upload it again and create a new job.")


def base_name(job: Job) -> str:
    """What clients call the base under a job's model."""
    return job.model.split(":")[1] if job.model.startswith("ft:") else job.model


def model_name(job: Job, organization: str) -> str:
    """What the tuned model is called: ft:base:organization:suffix:id."""
    return f"ft:{base_name(job)}:{organization}:{job.suffix or ''}:{job.id.removeprefix('ftjob-')[:8]}"


def files_of(place: Workspace, job: Job) -> dict[str, Path]:
    """Where the run holds each file that a job names, by training_file and validation_file."""
    named = {"training_file": job.training_file, "validation_file": job.validation_file}
    home = place.runs / job.run / "files"
    return {param: home / f"{param.removesuffix('_file')}.jsonl" for param, file_id in named.items() if file_id}


def keep_files(place: Workspace, session: Session, job: Job) -> None:
    """Let the run hold the files that a job names, also those deleted since: their bytes stay until it ends. Raises
    NoFile.
    """
    for param, path in files_of(place, job).items():
        if path.exists():
            continue
        file_id = job.training_file if param == "training_file" else str(job.validation_file)
        file = session.scalar(select(File).where(File.id == file_id, File.project == job.project))
        if file is None or not place.files.joinpath(file.id).exists():
            raise NoFile(param, file_id)
        storage.link(place.files / file.id, path)


def order_of(place: Workspace, session: Session, job: Job) -> Order:
    """The order of a job whose files the run holds. Raises NotThere where its model is gone."""
    files = files_of(place, job)
    base, start = _start(place, session, job)
    grading = place.config.graders.model_dump(mode="json", exclude_none=True)
    grading["endpoints"] = dict.fromkeys(_are_here(place, session, job, graders_of(session, job)), SERVER)
    return Order(
        name=job.run,
        base=base,
        start=start,
        method=job.method,
        seed=job.seed,
        training=files["training_file"],
        validation=files.get("validation_file"),
        format=format_of(str(job.method["type"]), job_rows.first_row(files["training_file"])),
        grading=grading,
    )


def graders_of(session: Session, job: Job) -> list[str]:
    """The models that a job's graders name and that the key which made the job may ask. Raises RecipeError."""
    key = keys.named(session, job.key_id)
    return [model for model in grading_models(job.method) if key is None or not key.models or named(key.models, model)]


def _are_here(place: Workspace, session: Session, job: Job, asked: Sequence[str]) -> list[str]:
    """Of these models those that the server answers to the job's project."""
    names = Names(workspace=place)

    def is_here(name: str) -> bool:
        alias = aliases.current(session, name, job.project)
        return alias is not None or names.is_model(session, name, job.project)

    return [model for model in asked if is_here(model.removesuffix(WEIGHTS))]


def _start(place: Workspace, session: Session, job: Job) -> tuple[str, str | None]:
    """The base to open, and the adapter to go on from, where the job goes on from a tuned model."""
    if not job.base.startswith("ft:"):
        found = Path(base_folder(job.base))
        return (str(found.resolve()) if found.is_dir() and found.parent != BUNDLED else job.base), None
    model = models.find(session, job.base, project=job.project)
    if model is None:
        raise NotThere(f"There is no model '{job.base}' any more. Take another one.")
    folder = place.runs / model.folder
    if wrong := storage.damage(folder):
        raise NotThere(f"Model '{job.base}' is damaged: {wrong}. Take another one.")
    return str(storage.read_json(folder / "manifest.json")["base"]), str(folder / "adapter")
