"""The process that works on one fine-tuning job: python -m tunewright.server.working WORKSPACE JOB ATTEMPT.

It ends with 0 when the job has succeeded, with 75 when it was asked to stop (by SIGTERM, or by the end of its standard
input, which tells that the server is gone) and has saved, with 2 when the job has failed; what else ends it is a death,
after which the server tries again. Everything is in the run: another worker goes on where this one was.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tunewright.core import storage
from tunewright.core.errors import (
    DataError,
    MissingPackage,
    NotThere,
    RecipeError,
    RunBusy,
    Stopped,
    TunewrightError,
)
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.server import order, tracking
from tunewright.server.publishing import Publishing
from tunewright.server.telling import Telling
from tunewright.stages import flow, job_recipe
from tunewright.workspace import queue
from tunewright.workspace.place import Workspace
from tunewright.workspace.queue import Hold
from tunewright.workspace.tables import Job

log = logging.getLogger("tunewright.server")

STOPPED = Stopped.exit_code
GRACE_SECONDS = 30.0  # from the wish to stop until the process is ended whatever it does
_BUSY_SECONDS = 150.0  # the longest that an earlier worker may still be seen on the run (its host may be gone)
CODES: tuple[tuple[type[TunewrightError], str, str | None], ...] = (
    (DataError, "unusable_data", "training_file"),
    (MissingPackage, "missing_package", None),
    (RecipeError, "invalid_method", "method"),
    (NotThere, "not_found", None),
)


def main(arguments: Sequence[str]) -> int:
    """Work on a job until it ends or a stop is asked for; the exit code."""
    folder, job_id, attempt = arguments
    stop = end_with_the_server()
    return work(Workspace.open(folder), job_id, int(attempt), stop=stop)


def end_with_the_server() -> threading.Event:
    """An event that asks for a clean stop: set by a signal, and when the server is gone. A process that does not stop
    then is ended.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each question of a grader
    atexit.register(gc.freeze)  # the end comes a second sooner: see cli/__init__.py
    stop = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop.set())
    threading.Thread(target=_until_the_server_is_gone, args=(stop,), daemon=True).start()
    threading.Thread(target=_end_late, args=(stop,), daemon=True).start()
    return stop


def work(place: Workspace, job_id: str, attempt: int, *, stop: threading.Event) -> int:
    """The same, with the workspace open. stop: asks for a clean stop when it is set."""
    hold = Hold(place.database, job_id, attempt)
    try:
        with hold.writing() as (_, job):
            pass
        storage.failpoint("job.begin")
        _carry(place, hold, job, stop)
    except Stopped as error:
        log.info("%s", error)
        storage.failpoint("job.stopped")
        with place.database.writing() as session:
            queue.let_go(session, job_id, attempt)
        return STOPPED
    except RunBusy:
        raise  # a death: somebody else is on the run for longer than can be
    except TunewrightError as error:
        log.info("the job failed: %s", error)
        code, param = next(((c, p) for kind, c, p in CODES if isinstance(error, kind)), ("job_failed", None))
        with place.database.writing() as session:
            queue.fail(session, job_id, attempt, code=code, message=str(error), param=param)
        return error.exit_code
    return 0


def _carry(place: Workspace, hold: Hold, job: Job, stop: threading.Event) -> None:
    """Carry the job's recipe to a release, and publish it."""
    run = Run(place.runs / job.run)
    with place.database.writing() as session:
        order.keep_files(place, session, job)
        recipe = _recipe(run, order.order_of(place, session, job))
    storage.failpoint("job.files")
    with tracking.opened(job.integrations, job.id, run.folder) as (track, warnings):
        telling = Telling(hold, run, track=track)
        for event in [*run.events(), *warnings]:  # what an earlier worker may not have told
            telling(event)
        publishing = Publishing(place, hold, run)
        report = _report(recipe, place.runs, [telling, publishing], stop)
        telling.flush()
    trained = run.report("train")
    if report.exit_code or trained is None:
        _refuse_even(run)
        raise TunewrightError(f"No model was released: {report.reason or 'a proof of the training does not hold.'}")
    publishing.model(tokens=int(trained.numbers["tokens"]))


def _refuse_even(run: Run) -> None:
    """Raise DataError where all answers to each prompt earned the same in all steps: nothing could be learned."""
    steps = list(run.events("step"))
    if steps and all(step.get("even_groups") == 1.0 for step in steps):
        rewards = sorted({round(step["reward"], 4) for step in steps})
        raise DataError(
            f"In all {len(steps)} steps the answers to a prompt earned the same reward ({rewards[0]:g} to "
            f"{rewards[-1]:g}), so none was better than another and nothing was learned. Take a grader that tells "
            "answers from each other (as text_similarity does), or begin with a model that is right at times."
        )


def _recipe(run: Run, asked: job_recipe.Order) -> Recipe | Path:
    """The job's recipe, or once it was begun, the run whose recipe stands: the job's numbers are no longer "auto"."""
    return run.folder if run.path("recipe.given.yaml").exists() else job_recipe.of_order(asked)


def _report(recipe: Recipe | Path, runs: Path, listeners: list, stop: threading.Event) -> Report:
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        if stop.is_set():
            raise Stopped("The job was stopped before it began; nothing is lost.")
        try:
            return flow.run(recipe, runs=runs, listeners=listeners, stop=stop)
        except RunBusy:
            if time.monotonic() > until:
                raise
            stop.wait(1.0)


def _until_the_server_is_gone(stop: threading.Event) -> None:
    """Ask for a stop when standard input ends."""
    while os.read(0, 1024):
        pass
    stop.set()


def _end_late(stop: threading.Event) -> None:
    """End a process that does not come to its stop."""
    stop.wait()
    time.sleep(GRACE_SECONDS)
    log.error("the job did not stop within %s seconds", GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
