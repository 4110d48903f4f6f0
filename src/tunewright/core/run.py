"""Run: one folder that holds everything about one run. Stages talk through it and through nothing else."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tunewright.core import storage
from tunewright.core.errors import NotThere, RunBusy, RunError, Stopped
from tunewright.core.example import Example
from tunewright.core.example_files import ExampleFiles
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report

STAGES = ("prepare", "choose", "train", "evaluate", "deploy")
State = Literal["new", "running", "stopped", "failed", "done"]
PROGRESS_SECONDS = 0.5  # between two events of one stage
Listener = Callable[[dict[str, Any]], None]


class Run:
    """A run's folder. Cheap to make; nothing is written before `begin`."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.listeners: list[Listener] = []
        self.stop = threading.Event()  # set from outside (a signal, a server) to ask for a clean stop
        self._guard = threading.Lock()
        self._told = 0.0

    # --- finding and making ---

    @classmethod
    def open(cls, name: str | Path, *, runs: str | Path = "runs") -> Run:
        """An existing run, by folder or by name under `runs`. Raises NotThere."""
        for folder in (Path(name), Path(runs) / str(name)):
            if (folder / "run.json").exists():
                return cls(folder)
        known = sorted(path.parent.name for path in Path(runs).glob("*/run.json"))
        raise NotThere(f"There is no run '{name}' in {runs}. Runs found: {', '.join(known) or 'none'}.")

    @classmethod
    def begin(cls, recipe: Recipe, *, runs: str | Path = "runs", fresh: bool = False) -> Run:
        """The run of a recipe: a new folder, or the one that is there. `fresh` puts the old one aside under another
        name.
        """
        run = cls(Path(runs) / recipe.name)
        if fresh and run.folder.exists():
            run._refuse_if_alive()
            stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
            aside = run.folder.with_name(f"{run.folder.name}.{stamp}")
            while aside.exists():
                aside = aside.with_name(aside.name + "x")
            os.replace(run.folder, aside)
        run._refuse_unwritable()
        if not (run.folder / "run.json").exists():
            storage.write_json(run.folder / "run.json", {"name": recipe.name, "state": "new", "created": time.time()})
        return run

    # --- paths ---

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.folder.name

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.folder.joinpath(*parts)

    def split(self, *names: str) -> Sequence[Example]:
        """The examples of data/<name>.jsonl (of several: one behind the other), read from the file when asked for.
        Raises NotThere before `prepare`.
        """
        paths = [self.path("data", f"{name}.jsonl") for name in names]
        for path in paths:
            if not path.exists():
                raise NotThere(f"{path} is not there: prepare the data first with 'tunewright prepare {self.folder}'.")
        return ExampleFiles(*paths)

    def recipe(self) -> Recipe:
        """The run's own resolved recipe. Raises NotThere before the first stage."""
        return Recipe.load(self.path("recipe.yaml"))

    def report(self, stage: str) -> Report | None:
        """A stage's report, or None when that stage has not been done."""
        return Report.load(self.path(stage))

    def releases(self) -> list[Path]:
        """Release folders, oldest first; only those whose manifest is there."""
        folders = [path for path in self.path("releases").glob("*") if re.fullmatch(r"\d{3,}", path.name)]
        return sorted((path for path in folders if (path / "manifest.json").exists()), key=lambda path: int(path.name))

    # --- state ---

    def facts(self) -> dict[str, Any]:
        """run.json: name, state, pid, host, heartbeat, stage, step, total, and the recipe's file if there is one."""
        path = self.folder / "run.json"
        return dict(storage.read_json(path)) if path.exists() else {}

    def update(self, **values: Any) -> None:
        """Change some facts of run.json."""
        with self._guard:
            facts = {**self.facts(), **values, "heartbeat": time.time()}
            storage.write_json(self.folder / "run.json", facts, point="state")

    def stop_if_asked(self) -> None:
        """Raise Stopped when a stop was asked for. Every long loop calls this."""
        if self.stop.is_set():
            raise Stopped(f"Run '{self.name}' was stopped on request. The same command goes on from here.")

    def log(self, event: str, **fields: Any) -> None:
        """Append an event to events.jsonl and tell the listeners."""
        row = {"event": event, "time": round(time.time(), 3), **fields}
        storage.append_jsonl(self.folder / "events.jsonl", row, point="events")
        for listener in self.listeners:
            listener(row)

    def progress(self, stage: str, *, done: int, total: int = 0, what: str) -> None:
        """Log how far a stage is: at its end, else twice a second at most. Raises Stopped when a stop was asked for."""
        self.stop_if_asked()
        if time.monotonic() - self._told >= PROGRESS_SECONDS or done == total:
            self._told = time.monotonic()
            self.log("progress", stage=stage, done=done, total=total, what=what)

    def events(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Events so far, oldest first."""
        for row in storage.read_jsonl(self.folder / "events.jsonl"):
            if kind is None or row["event"] == kind:
                yield row

    def _refuse_unwritable(self) -> None:
        """Fail before any work rather than at the first save."""
        try:
            for folder in (self.folder, self.folder / "checkpoints"):
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / ".writable"
                probe.touch()
                probe.unlink()
        except OSError as error:
            raise RunError(
                f"The run's folder {self.folder} cannot be written ({error.strerror}: {error.filename}). "
                "Mend its permissions, or give another place with --runs."
            ) from None

    def _refuse_if_alive(self) -> None:
        facts = self.facts()
        if facts.get("state") != "running" or facts.get("pid") == os.getpid():
            return
        same_host = facts.get("host") == socket.gethostname()
        beats = time.time() - facts.get("heartbeat", 0) < 120
        alive = is_alive(int(facts["pid"]), facts.get("born")) if same_host else beats
        if alive:
            raise RunBusy(
                f"Run '{self.name}' is being worked on by process {facts['pid']} on {facts.get('host')}. "
                "Wait for it or stop it, then run the same command again."
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from working on the run; its state stays as it is. Raises RunBusy."""
        with (self.folder / ".lock").open("a") as handle:
            try:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                facts = self.facts()
                raise RunBusy(
                    f"Run '{self.name}' is being worked on by process {facts.get('pid')} on {facts.get('host')}. "
                    "Wait for it or stop it, then run the same command again."
                ) from None
            self._refuse_if_alive()
            yield

    @contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Hold the run while a stage works: one process at a time, with a heartbeat every five seconds."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(5):
                with suppress(OSError):  # a full disk stops the work itself, with a clear error
                    self.update()

        with self.held():
            try:
                pid = os.getpid()
                host = socket.gethostname()
                self.update(state="running", stage=stage, pid=pid, born=born(pid), host=host, error=None)
                threading.Thread(target=beat, daemon=True).start()
                yield
            finally:
                done.set()


def born(pid: int) -> str | None:
    """When a process started, in clock ticks since boot (tells a reused pid apart); None where /proc is missing, and
    where it was killed and only waits to be reaped.
    """
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if facts[0] == "Z" else facts[19]


def is_alive(pid: int, began: str | None) -> bool:
    """Whether the process that began then (None: whenever) is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return began is None or born(pid) == began
