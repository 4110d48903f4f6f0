"""The process that looks at a new job's files: python -m tunewright.server.validating WORKSPACE JOB.

The job goes to the queue, or fails with an error that names the rows and why.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.core import checks, storage
from tunewright.core.errors import NotThere, RecipeError, TunewrightError
from tunewright.server import order
from tunewright.server.working import end_with_the_server
from tunewright.stages import job_recipe, job_rows
from tunewright.workspace import jobs, queue
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Job

log = logging.getLogger("tunewright.server")
STATE = "validating_files"


@dataclass(frozen=True)
class _Refusal:
    code: str
    message: str
    param: str | None


def main(arguments: Sequence[str]) -> int:
    """Look at the files of a job; always 0."""
    folder, job_id = arguments
    end_with_the_server()
    validate(Workspace.open(folder), job_id)
    return 0


def validate(place: Workspace, job_id: str) -> None:
    """The same, with the workspace open. Nothing happens to a job that is in another state."""
    with place.database.reading() as session:
        job = jobs.by_id(session, job_id)
    if job is None or job.status != STATE:
        return
    refusal = _refusal(place, job)
    storage.failpoint("job.validated")
    with place.database.writing() as session:
        if refusal is not None:
            queue.end(session, job_id, since=STATE, code=refusal.code, message=refusal.message, param=refusal.param)
        elif jobs.move(session, job_id, since=[STATE], to="queued"):
            jobs.tell(session, job_id, "validated", "Files validated, moving job to queued state")
    storage.failpoint("job.queued")


def _refusal(place: Workspace, job: Job) -> _Refusal | None:
    """Why a job cannot be carried out; None where it can. Its files are kept in the run."""
    try:
        with place.database.writing() as session:
            for param, file_id in (("training", job.training_file), ("validation", job.validation_file)):
                if file_id is not None:
                    jobs.tell(session, job.id, f"validating-{param}", f"Validating {param} file: {file_id}")
            order.keep_files(place, session, job)
            asked = order.order_of(place, session, job)
        recipe = job_recipe.of_order(asked)
        checks.check(recipe)
        objective = recipe.the_objective()
        with place.database.writing() as session:
            for message in job_recipe.without_effect(asked):
                jobs.tell(session, job.id, message[:96], message, level="warn")
        for param, path in order.files_of(place, job).items():
            job_rows.check(param, path, method=job.method, format=asked.format, objective=objective)
    except job_rows.Unusable as error:
        return _Refusal(f"invalid_{error.param}", str(error), error.param)
    except order.NoFile as error:
        return _Refusal("file_not_found", str(error), error.param)
    except RecipeError as error:
        return _Refusal("invalid_method", str(error), "method")
    except NotThere as error:
        return _Refusal("model_not_found", str(error), "model")
    except TunewrightError as error:
        return _Refusal("job_failed", str(error), None)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
