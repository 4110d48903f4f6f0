"""Jobs on PostgreSQL: the same tables and rules, on a server that the test starts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from job_place import JobPlace, chats, supervised

from tunewright.server.supervisor import Supervisor
from tunewright.workspace import queue
from tunewright.workspace.place import Workspace


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    named = shutil.which("initdb")
    return found[-1].parent if found else Path(named).resolve().parent if named else None


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own, which nobody else can reach."""
    psycopg = pytest.importorskip("psycopg")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    folder = Path(tempfile.mkdtemp(prefix="tunewright-postgres-"))  # pytest's own folders are closed to others
    as_other = []
    if os.geteuid() == 0:  # its server refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("root needs runuser to start a PostgreSQL server")
        as_other = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    data = folder / "data"
    told = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([*as_other, programs / "initdb", "-D", data, "-U", "tw", "-A", "trust", "-N"], check=True, **told)
    options = ["-p", str(port), "-k", str(folder), "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"]
    server = subprocess.Popen([*as_other, programs / "postgres", "-D", data, *options], **told)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None and time.monotonic() < deadline
            try:
                psycopg.connect(host="127.0.0.1", port=port, user="tw", dbname="postgres").close()
                break
            except psycopg.OperationalError:
                time.sleep(0.05)
        yield f"postgresql+psycopg://tw@127.0.0.1:{port}/postgres"
    finally:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 3)  # SIGQUIT: at once
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def here(url: str, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobPlace]:
    found = JobPlace.make(tmp_path_factory.mktemp("jobs"), tiny("llama"), config=f"database: {url}\n")
    yield found
    found.place.database.close()


def test_a_job_from_its_files_to_its_model(here: JobPlace) -> None:
    assert not here.place.database.is_sqlite
    name = here.queued(chats(8), validation=chats(3, start=50), method=supervised(n_epochs=2))
    assert here.work(name) == 0, here.job(name).error
    job = here.job(name)
    assert job.status == "succeeded" and job.result_files and job.trained_tokens
    assert len(here.checkpoints(name)) == 2 and len(here.models(name)) == 3
    assert sum(event.type == "metrics" for event in here.events(name)) == 4


def test_of_many_that_want_a_job_one_gets_it(here: JobPlace) -> None:
    names = [here.queued(chats(1), key_id=key) for key in ("a", "a", "b", "b")]
    taken: list[str] = []
    begin = threading.Barrier(6)

    def work() -> None:
        place = Workspace.open(here.place.folder)  # as another server has it
        begin.wait()
        while True:
            with place.database.writing() as session:
                job_id = queue.next_job(session)
                if job_id is None:
                    break
                if queue.take(session, job_id, host="one") is not None:
                    taken.append(job_id)
        place.database.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(names)
    for name in names:
        with here.place.database.writing() as session:
            assert here.job(name).attempts == 1 and queue.fail(session, name, 1, code="x", message="y")


def test_wishes_deaths_and_leases(here: JobPlace) -> None:
    name = here.queued(chats(1))
    for attempt in (1, 2):
        assert here.take(name) == attempt
        with here.place.database.writing() as session:
            assert queue.renew(session, name, attempt, worked=2.0) is not None
            assert queue.died(session, name, attempt, reached="", why="")
    assert here.take(name) == 3 and here.job(name).seconds == 4.0
    here.want(name, "pause")
    with here.place.database.writing() as session:
        assert queue.let_go(session, name, 3) and not queue.let_go(session, name, 3)
    assert here.job(name).status == "paused"


def test_two_supervisors_do_not_take_the_same_job(here: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.server import processes

    started: list[str] = []
    real = processes.start

    def start(module: str, *arguments: str, log: Path, secrets: dict[str, str]) -> processes.Process:
        started.append(arguments[1])
        return real("this", log=log, secrets=secrets)  # a module of Python that ends at once

    monkeypatch.setattr(processes, "start", start)
    name = here.queued(chats(1))
    both = [Supervisor(Workspace.open(here.place.folder)) for _ in range(2)]
    threads = [threading.Thread(target=one._start_next) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [name] and here.job(name).attempts == 1
    for one in both:
        for worker in one.workers.values():
            worker.process.popen.wait()
        one.place.database.close()
