"""A small training job, and real deaths of the process that works on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import TunewrightError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Listener, Run

NUM_ROWS, BATCH, EPOCHS = 40, 7, 2
PER_EPOCH = 6  # 40 rows in steps of 7: the sixth step is short
TOTAL = PER_EPOCH * EPOCHS
WORDS = ["card", "money", "fee", "rate", "account", "branch", "phone", "code", "block", "send", "lost", "late"]
LABELS = ("card", "fees", "access")
KILLED = -int(signal.SIGKILL)
SECONDS = 240  # a child that lives longer hangs


def rows(num: int, *, start: int = 0) -> list[dict[str, str]]:
    """Labelled messages, each different."""
    numbers = range(start, start + num)
    return [
        {"text": f"{WORDS[n % 12]} {WORDS[(n * 7 + 3) % 12]} question {n}", "label": LABELS[n % 3]} for n in numbers
    ]


def write_rows(path: Path, values: list[dict[str, Any]]) -> None:
    """As JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in values), encoding="utf-8")


def write_job(folder: Path, base: Path, **train: Any) -> Path:
    """Data files and a recipe. Dropout makes each step draw; the short last batch makes epochs uneven."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, num, start in (("train", NUM_ROWS, 0), ("validation", 8, 100), ("test", 8, 200)):
        write_rows(folder / f"{name}.jsonl", rows(num, start=start))
    options = {"epochs": EPOCHS, "batch": BATCH, "lr": 0.01, "save_every": 2, "evaluate_every": 5, "patience": 0}
    values = {
        "name": "job",
        "data": {
            "sources": ["train.jsonl"],
            "validation": "validation.jsonl",
            "test": "test.jsonl",
            "format": "labels",
        },
        "model": str(base),
        "method": {"kind": "lora", "rank": 4, "dropout": 0.1},
        "train": {**options, "micro_tokens": 256, "threads": 1, **train},
        "evaluate": {"against": ["base"]},
    }
    path = folder / "recipe.json"
    storage.write_json(path, values)
    return path


@dataclass(frozen=True)
class Job:
    """A recipe and the folder of its runs."""

    path: Path
    runs: Path

    @property
    def run(self) -> Run:
        """The run's folder."""
        return Run(self.runs / "job")

    @property
    def recipe(self) -> Recipe:
        """As the user wrote it."""
        return Recipe.load(self.path)

    def copied(self, runs: Path) -> Job:
        """The same run in another place."""
        shutil.copytree(self.run.folder, runs / "job")
        return Job(self.path, runs)

    def go_on(
        self, prepare: Callable[[Any], None] = lambda session: None, *, listener: Listener = lambda event: None
    ) -> None:
        """Train from where the run stands, without the proofs: the loop and what it writes. `prepare` may spoil it."""
        from tunewright.stages.flow import stops_cleanly
        from tunewright.stages.train import Session

        run = self.run
        run.listeners.append(listener)
        with stops_cleanly(run):
            session = Session(run.recipe(), run)
            session.resume()
            prepare(session)
            session.run_steps()

    def outcome(self) -> dict[str, Any]:
        """Everything about the end of a training that must not depend on how often it was interrupted."""
        newest = self.checkpoints()[-1]
        state = storage.read_json(newest / "state.json")
        state.pop("seconds")
        numbers = ("step", "epoch", "loss", "lr", "grad_norm", "tokens")
        return {
            "adapter": storage.sha256(newest / "model" / "adapter_model.safetensors"),
            "optimizer": storage.sha256(newest / "optimizer.safetensors"),
            "state": state,
            "ledger": list(storage.read_jsonl(self.run.path("ledger.jsonl"))),
            "steps": [[event[key] for key in numbers] for event in self.run.events("step")],
            "validation": [[event["step"], event["loss"], event["best"]] for event in self.run.events("validation")],
        }

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        return sorted(self.run.path("checkpoints").glob("step-*"))

    def left_behind(self) -> list[str]:
        """Temporary files and folders under the run."""
        return [str(path) for path in self.run.folder.rglob("*") if path.suffix in (".tmp", ".old")]


def forked(work: Callable[[], Any], *, fail: str = "") -> int:
    """Do the work in a forked process and return its exit code, negative for a signal. fail: a failpoint to arm."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.fsync = lambda descriptor: None  # a killed process loses nothing that the system has; flushing is slow
            storage._visits.clear()
            if fail:
                os.environ["TUNEWRIGHT_FAIL"] = fail
            work()
            code = 0
        except TunewrightError as error:
            code = error.exit_code
            print(error, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"the child hung for {SECONDS} seconds")
        time.sleep(0.01)


def command(*arguments: str | Path, fail: str = "") -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": "random"} | ({"TUNEWRIGHT_FAIL": fail} if fail else {})
    return subprocess.Popen(
        [sys.executable, "-m", "tunewright.cli", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command: its exit code and what it told on both streams."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out + err
