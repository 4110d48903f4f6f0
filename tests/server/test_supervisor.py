"""The supervisor with processes that do what a worker might: obey, hang, die, take too much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from job_place import JobPlace, chats
from sqlalchemy import update

from tunewright.core import storage
from tunewright.core.run import is_alive
from tunewright.server import processes, supervisor
from tunewright.server.processes import Process
from tunewright.server.supervisor import Supervisor
from tunewright.workspace.tables import Job

OBEYS = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nprint('ready', flush=True)\n"
WAITS = OBEYS + "time.sleep(300)"
HANGS = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(300)"
)
READS = OBEYS + "sys.stdin.read()\nsys.exit(75)"  # ends with the server
_SLEEP = "import time; time.sleep(300)"
DIES = "import os, sys\nprint('out of luck', flush=True)\nos._exit(9)"


@dataclass
class Scene:
    """A workspace, a supervisor and the processes that it has started."""

    here: JobPlace
    supervisor: Supervisor
    started: list[Process] = field(default_factory=list)

    def until(self, condition: Callable[[], Any]) -> None:
        """Let the supervisor look until something holds."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.here.place.database
            self.supervisor.look()
            time.sleep(0.02)

    def running(self, job_id: str) -> Process:
        """The process of a job that has begun and said so."""
        log = self.here.run(job_id).path("worker.log")
        self.until(lambda: log.exists() and b"ready" in log.read_bytes())
        return self.supervisor.workers[job_id].process

    def status(self, job_id: str) -> str:
        return self.here.job(job_id).status


Stage = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """scene(code, config): a supervisor whose workers run that code instead of a job's."""
    made: list[Scene] = []

    def make(code: str, config: str = "") -> Scene:
        here = JobPlace.make(tmp_path, Path("nano"), config=config)
        found = Scene(here, Supervisor(here.place))

        def start(module: str, *arguments: str, log: Path, secrets: dict[str, str]) -> Process:
            environment = {name: os.environ[name] for name in processes.KEPT if name in os.environ}
            with storage.open_log(log) as output:
                popen = subprocess.Popen(
                    [sys.executable, "-c", code, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=environment | secrets,
                    start_new_session=True,
                )
            found.started.append(Process(popen, log))
            return found.started[-1]

        monkeypatch.setattr(processes, "start", start)
        made.append(found)
        return found

    yield make
    for one in made:
        for process in one.started:
            process.kill()
            process.popen.wait()


def test_as_many_jobs_run_as_the_config_allows(scene: Stage) -> None:
    one = scene(WAITS, "jobs: {at_once: 2}\n")
    names = [one.here.queued(chats(1)) for _ in range(3)]
    one.running(names[0])
    one.running(names[1])
    one.supervisor.look()
    assert [one.status(name) for name in names] == ["running", "running", "queued"]
    job = one.here.job(names[0])
    assert job.worker_pid == one.supervisor.workers[names[0]].process.pid and job.worker_host
    assert is_alive(int(job.worker_pid), job.worker_born)
    one.here.want(names[0], "cancel")
    one.until(lambda: one.status(names[2]) == "running")
    assert one.status(names[0]) == "cancelled"


def test_a_lease_is_renewed_and_work_is_counted(scene: Stage) -> None:
    one = scene(WAITS)
    name = one.here.queued(chats(1))
    one.running(name)
    before = one.here.job(name)
    one.until(lambda: one.here.job(name).seconds > before.seconds)
    assert (one.here.job(name).lease or 0) > (before.lease or 0)


@pytest.mark.parametrize(("wish", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_wish_reaches_the_worker(scene: Stage, wish: str, state: str) -> None:
    one = scene(WAITS)
    name = one.here.queued(chats(1))
    process = one.running(name)
    one.here.want(name, wish)
    one.until(lambda: one.status(name) == state)
    assert process.code == 75 and not one.supervisor.workers and one.here.job(name).wanted is None


def test_a_worker_that_does_not_stop_is_killed(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.1)
    one = scene(HANGS)
    name = one.here.queued(chats(1))
    process = one.running(name)
    one.here.want(name, "cancel")
    one.until(lambda: one.status(name) == "cancelled")
    assert process.code == -signal.SIGKILL


def test_a_worker_that_dies_again_and_again_fails_the_job_with_its_last_words(scene: Stage) -> None:
    one = scene(DIES)
    name = one.here.queued(chats(1))
    one.until(lambda: one.status(name) == "failed")
    job = one.here.job(name)
    assert job.attempts == len(one.started) == 3
    assert job.error is not None and job.error["code"] == "worker_died"
    assert "exit code was 9" in job.error["message"] and "out of luck" in job.error["message"]


@pytest.mark.parametrize(
    ("limit", "code", "told"),
    [
        ("memory_gib: 0.1", "held = b'x' * (200 << 20)\n", "memory_limit"),
        ("hours: 0.00001", "", "time_limit"),
        ("disk_gib: 0.001", "", "disk_limit"),
    ],
)
def test_a_job_over_a_limit_is_ended(scene: Stage, limit: str, code: str, told: str) -> None:
    one = scene(OBEYS + code + "time.sleep(300)", f"jobs: {{{limit}}}\n")
    name = one.here.queued(chats(1))
    if told == "disk_limit":
        (one.here.run(name).folder / "more").write_bytes(b"x" * (4 << 20))
    one.until(lambda: one.status(name) == "failed")
    error = one.here.job(name).error
    assert error is not None and error["code"] == told
    assert f"jobs.{limit.split(':')[0]} allows" in error["message"], error
    assert one.started[0].code == -signal.SIGKILL


def test_a_limit_counts_what_a_worker_started_and_ends_it_too(scene: Stage) -> None:
    child = (
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', \"held = b'x' * (200 << 20); {_SLEEP}\"])\n"
    )
    one = scene(child + WAITS, "jobs: {memory_gib: 0.1}\n")
    name = one.here.queued(chats(1))
    one.running(name)
    import psutil

    (grandchild,) = psutil.Process(one.started[0].pid).children()
    one.until(lambda: one.status(name) == "failed")
    one.until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_worker_gets_no_secret_that_it_does_not_need(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TUNEWRIGHT_KEYS", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WANDB_API_KEY", "GRADER"):
        monkeypatch.setenv(name, f"secret-{name}")
    grading = "graders: {endpoint: {url: 'http://localhost:1/v1', key: 'env:GRADER'}}\n"
    one = scene("import os\nprint('ready', dict(os.environ), flush=True)\n" + WAITS, "jobs: {at_once: 3}\n" + grading)
    plain = one.here.queued(chats(1))
    tracked = one.here.queued(chats(1), integrations=[{"type": "wandb", "wandb": {"project": "p"}}])
    grader = {"type": "string_check", "name": "r", "operation": "eq", "input": "a", "reference": "b"}
    rows = [{"messages": [{"role": "user", "content": "one"}]}]
    graded = one.here.queued(rows, method={"type": "reinforcement", "reinforcement": {"grader": grader}})
    for name, known in ((plain, set()), (tracked, {"WANDB_API_KEY"}), (graded, {"GRADER"})):
        one.running(name)
        said = one.here.run(name).path("worker.log").read_text()
        assert {
            word
            for word in ("KEYS", "OPENAI_API_KEY", "AWS_", "HF_TOKEN", "WANDB_API_KEY", "GRADER")
            if f"secret-{word}" in said
        } == known
        assert "PATH" in said


def test_when_the_server_ends_its_workers_end_and_the_next_server_goes_on(scene: Stage) -> None:
    one = scene(READS)
    name = one.here.queued(chats(1))
    process = one.running(name)
    one.supervisor.end()
    assert process.popen.wait(timeout=30) == 75
    assert one.status(name) == "running", "this worker wrote nothing"
    one.supervisor = Supervisor(one.here.place)
    one.until(lambda: one.here.job(name).attempts == 2)
    assert one.running(name).pid != process.pid and one.here.job(name).deaths == 1


def test_a_job_of_another_server_is_left_alone_until_its_lease_ends(scene: Stage) -> None:
    one = scene(WAITS)
    name = one.here.queued(chats(1))
    attempt = one.here.take(name)  # on the host "here"
    one.supervisor.look()
    one.supervisor.look()
    assert one.here.job(name).attempts == attempt and not one.started
    with one.here.place.database.writing() as session:
        session.execute(update(Job).where(Job.id == name).values(lease=time.time() - 1))
    one.until(lambda: one.here.job(name).attempts == attempt + 1)


def test_a_process_whose_lease_has_ended_is_killed_before_another_begins(scene: Stage) -> None:
    one = scene(HANGS)
    name = one.here.queued(chats(1))
    process = one.running(name)
    with one.here.place.database.writing() as session:
        session.execute(update(Job).where(Job.id == name).values(lease=time.time() - 1))
    one.supervisor = Supervisor(one.here.place)  # it knows nothing of the first one's workers
    one.supervisor.look()
    assert process.popen.wait(timeout=30) == -signal.SIGKILL
    one.until(lambda: one.here.job(name).attempts == 2)


@pytest.mark.parametrize("point", ["job.taken", "job.started", "job.ended"])
def test_a_server_that_is_killed_between_two_steps_loses_no_job(scene: Stage, point: str) -> None:
    one = scene(READS if point != "job.ended" else DIES)
    name = one.here.queued(chats(1))
    child = os.fork()
    if child == 0:
        one.here.place.database.engine.dispose(close=False)
        storage._visits.clear()
        os.environ["TUNEWRIGHT_FAIL"] = f"{point}:1:kill"
        try:
            one.until(lambda: False)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    job = one.here.job(name)
    assert (job.status, job.attempts) == ("running", 1)
    assert (job.worker_pid is None) == (point != "job.ended")
    if job.worker_pid is None:  # nobody knows whether somebody works on it before the lease has ended
        with one.here.place.database.writing() as session:
            session.execute(update(Job).where(Job.id == name).values(lease=time.time() - 1))
    one.until(lambda: one.here.job(name).attempts == 2)


def test_a_process_that_dies_over_new_files_fails_the_job(scene: Stage) -> None:
    one = scene(DIES)
    name = one.here.put(chats(1))
    one.until(lambda: one.status(name) == "failed")
    error = one.here.job(name).error
    assert error is not None and error["code"] == "validation_died" and "out of luck" in error["message"]
