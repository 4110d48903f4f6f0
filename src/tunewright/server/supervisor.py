"""The supervisor: lets new jobs' files be looked at, takes jobs from the queue, and watches the processes at work.

It keeps nothing in memory that the database and the runs do not know: after any end of the server the next one goes on.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunewright.core import storage
from tunewright.core.run import Run, born, is_alive
from tunewright.server import order, processes
from tunewright.server.background import Background
from tunewright.server.front import Front
from tunewright.server.processes import Process
from tunewright.server.working import GRACE_SECONDS, STOPPED
from tunewright.workspace import job_keys, jobs, queue
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Job

log = logging.getLogger("tunewright.server")

LOOK_SECONDS = 1.0
LEAVING_SECONDS = 5.0  # for a process to end by itself once its job has ended
DISK_SECONDS = 10.0  # between two looks at how much a run takes
DATABASE = ("PGPASSWORD",)  # of the environment, what opens a database besides its URL
_GIB = 2**30
_SMALLER = "Make a smaller job, or let the server's owner allow more in workspace.yaml."


def add(api: APIRouter, front: Front) -> None:
    """The supervisor beside the server's answers, where jobs run here."""
    if front.place.config.jobs.at_once:
        supervisor = Supervisor(front.place, address=front.address)
        work = Background("supervisor", supervisor.look, seconds=LOOK_SECONDS, at_end=supervisor.end)
        front.background[work.name] = work


@dataclass
class Worker:
    """A process that works on a job. over: the limit that it broke, as error code and sentence. done: since when the
    job is no longer with it.
    """

    job_id: str
    attempt: int
    run: Run
    process: Process
    over: tuple[str, str] | None = None
    done: float | None = None
    weighed: float = 0.0  # when the run's folder was last looked at


class Supervisor:
    """Called every second."""

    def __init__(self, place: Workspace, *, address: str | None = None) -> None:
        """address: where jobs may ask this server."""
        self.place, self.limits, self.address = place, place.config.jobs, address
        self.host = socket.gethostname()
        self.workers: dict[str, Worker] = {}
        self.looking: dict[str, Process] = {}  # at new jobs' files
        self._deaths: Counter[str] = Counter()  # of those who looked at a job's files
        self._begun = False

    def look(self) -> None:
        """See what has ended, what is wanted and what may begin."""
        for worker in list(self.workers.values()):
            if worker.process.code is not None:
                self._ended(worker)
            else:
                self._watch(worker)
        self._take_over(at_start=not self._begun)
        self._begun = True
        self._validate()
        while self._start_next():
            pass

    def end(self) -> None:
        """Let those who work know that the server ends: they save, and their jobs wait for the next one."""
        for process in [*self.looking.values(), *(worker.process for worker in self.workers.values())]:
            process.let_go()

    # --- new jobs ---

    def _validate(self) -> None:
        """Let the files of new jobs be looked at, one job after the other."""
        for job_id, process in list(self.looking.items()):
            if process.code is None:
                if time.monotonic() - process.seen > self.limits.hours * 3600:
                    process.kill()
                return
            del self.looking[job_id]
            self._unvalidated(job_id, process)
        with self.place.database.reading() as session:
            waiting = select(Job.id, Job.run).where(Job.status == "validating_files").order_by(Job.number).limit(1)
            found = session.execute(waiting).first()
        if found is not None:
            job_id, run = found
            log_file = self.place.runs / run / "worker.log"
            self.looking[job_id] = processes.start(
                "tunewright.server.validating",
                str(self.place.folder),
                job_id,
                log=log_file,
                secrets=_of_environment(DATABASE),
            )

    def _unvalidated(self, job_id: str, process: Process) -> None:
        """Fail a job whose files killed the process that looked at them."""
        if process.code == 0:
            self._deaths.pop(job_id, None)
            return
        self._deaths[job_id] += 1
        if self._deaths[job_id] < queue.MOST_DEATHS:
            return
        with self.place.database.writing() as session:
            message = f"The process that looked at the files died (exit code {process.code}). {process.tail()}"
            queue.end(session, job_id, since="validating_files", code="validation_died", message=message)

    # --- the queue ---

    def _start_next(self) -> bool:
        """Begin with the job whose turn it is, if there is room; whether there was."""
        with self.place.database.writing() as session:
            here = select(func.count()).where(Job.status == "running", Job.worker_host == self.host)
            if (session.scalar(here) or 0) >= self.limits.at_once:
                return False
            job_id = queue.next_job(session)
            attempt = queue.take(session, job_id, host=self.host) if job_id else None
            job = jobs.by_id(session, job_id) if job_id else None
            own = self._own_key(session, job) if job else {}
        if job is None or attempt is None:
            return False
        storage.failpoint("job.taken")
        run = Run(self.place.runs / job.run)
        arguments = (str(self.place.folder), job.id, str(attempt))
        process = processes.start(
            "tunewright.server.working", *arguments, log=run.path("worker.log"), secrets=self._secrets(job) | own
        )
        self.workers[job.id] = Worker(job.id, attempt, run, process)
        storage.failpoint("job.started")
        with self.place.database.writing() as session:
            held = queue.held(session, job.id, attempt)
            if held is not None:
                held.worker_pid, held.worker_born = process.pid, born(process.pid)
        log.info("job %s: attempt %s works as process %s", job.id, attempt, process.pid)
        return True

    def _own_key(self, session: Session, job: Job) -> dict[str, str]:
        """What a job needs to ask this server's models, where models grade."""
        asked = order.graders_of(session, job)
        if not asked or self.address is None:
            return {}
        return {order.ADDRESS: self.address, order.KEY: job_keys.create(session, job, asked)}

    def _secrets(self, job: Job) -> dict[str, str]:
        """What the job cannot do without: keys of the database, the tracker, gated bases, and a model that grades."""
        wanted = [*DATABASE, *(name for name in os.environ if name.startswith("WANDB_") and job.integrations)]
        endpoint = self.place.config.graders.endpoint
        if job.method.get("type") == "reinforcement" and endpoint and (endpoint.key or "").startswith("env:"):
            wanted.append(str(endpoint.key).removeprefix("env:"))
        if job.base.count("/") == 1 and not Path(job.base).is_dir():  # a Hub id
            wanted.append("HF_TOKEN")
        return _of_environment(wanted)

    # --- who works ---

    def _watch(self, worker: Worker) -> None:
        """Renew the lease, pass on what is wanted, and hold the process to the limits."""
        process, now = worker.process, time.monotonic()
        worked, process.seen = now - process.seen, now
        with self.place.database.writing() as session:
            job = queue.renew(session, worker.job_id, worker.attempt, worked=worked)
            wanted, seconds = (None, 0.0) if job is None else (job.wanted, job.seconds)
        if job is None:  # it has ended, and so will its process; or it was given to another
            worker.done = worker.done or now
            if now - worker.done > LEAVING_SECONDS:
                process.stop()
        elif worker.over is None:
            worker.over = self._over(worker, seconds)
        if worker.over is not None:
            process.kill()
        elif wanted is not None:
            process.stop()
        if process.asked is not None and now - process.asked > GRACE_SECONDS:
            log.warning("job %s: the process did not stop and is killed", worker.job_id)
            process.kill()

    def _over(self, worker: Worker, seconds: float) -> tuple[str, str] | None:
        """The limit that a job has broken, and what was found."""
        limits = self.limits
        if seconds > limits.hours * 3600:
            message = f"The job worked for {seconds / 3600:.2f} hours, and jobs.hours allows {limits.hours:g}."
            return "time_limit", f"{message} {_SMALLER}"
        if limits.memory_gib is not None:
            found = processes.memory_of(worker.process.pid) / _GIB
            if found > limits.memory_gib:
                allowed = f"jobs.memory_gib allows {limits.memory_gib:g}"
                return "memory_limit", f"The job held {found:.2f} GiB of memory, and {allowed}. {_SMALLER}"
        if limits.disk_gib is not None and time.monotonic() - worker.weighed > DISK_SECONDS:
            worker.weighed = time.monotonic()
            found = processes.disk_of(worker.run.folder) / _GIB
            if found > limits.disk_gib:
                message = f"The job's run took {found:.3f} GiB of disk, and jobs.disk_gib allows {limits.disk_gib:g}."
                return "disk_limit", f"{message} {_SMALLER}"
        return None

    def _ended(self, worker: Worker) -> None:
        """Write down how a process ended, where it has not done so itself."""
        code, process = worker.process.code, worker.process
        storage.failpoint("job.ended")
        job_id, attempt = worker.job_id, worker.attempt
        with self.place.database.writing() as session:
            if worker.over is not None:
                queue.fail(session, job_id, attempt, code=worker.over[0], message=worker.over[1])
            elif code == STOPPED or process.asked is not None:
                queue.let_go(session, job_id, attempt)
            else:
                why = f"Its exit code was {code}; it wrote last:\n{process.tail()}"
                queue.died(session, job_id, attempt, reached=reached(worker.run), why=why)
        process.let_go()
        del self.workers[job_id]
        log.info("job %s: attempt %s ended with %s", job_id, attempt, code)

    def _take_over(self, *, at_start: bool) -> None:
        """Put running jobs that nobody works on back into the queue: those whose lease has ended, and at the start
        those whose process is gone from this machine.
        """
        with self.place.database.reading() as session:
            running = list(session.scalars(select(Job).where(Job.status == "running")))
        for job in running:
            if job.id in self.workers:
                continue
            expired = (job.lease or 0.0) < time.time()
            here = job.worker_host == self.host and job.worker_pid is not None
            alive = here and is_alive(int(job.worker_pid or 0), job.worker_born)
            if expired and alive:
                processes.end_group(int(job.worker_pid or 0))
            elif expired or (at_start and here and not alive):
                log.warning("job %s: nobody works on it any more; it is queued again", job.id)
                why = "It ended together with the server."
                far = reached(Run(self.place.runs / job.run))
                with self.place.database.writing() as session:
                    queue.died(session, job.id, job.attempts, reached=far, why=why)


def _of_environment(names: Iterable[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def reached(run: Run) -> str:
    """How far a run is: the stages that are done, and its last checkpoint."""
    stages = [path.parent.name for path in run.folder.glob("*/report.json")]
    steps = [path.name for path in run.path("checkpoints").glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return " ".join([*sorted(stages), max(steps, default="")])[:128]
