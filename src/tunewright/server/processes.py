"""Processes that a server starts for jobs: in a group of their own, watched, ended with the server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tunewright.core import storage

# Of the server's environment, what a process gets: where things are and how to compute, and no secret.
KEPT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "TRANSFORMERS_CACHE", "XDG_CACHE_HOME", "SSL_CERT_FILE",
    "PGPASSFILE", "PGSERVICEFILE", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
_TAIL_LINES, _TAIL_CHARACTERS = 15, 1500


@dataclass
class Process:
    """A running process and what is known of it. asked: when it was told to stop, in seconds of the monotonic clock."""

    popen: subprocess.Popen[bytes]
    log: Path
    asked: float | None = None
    seen: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its number."""
        return self.popen.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it is running."""
        return self.popen.poll()

    def stop(self) -> None:
        """Tell it to save and stop, once."""
        if self.asked is None:
            self.asked = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started."""
        end_group(self.pid)

    def let_go(self) -> None:
        """Close the pipe to it, by whose end it knows that the server is gone."""
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):
            self.popen.stdin.close()

    def tail(self) -> str:
        """The last lines that it wrote."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8 * _TAIL_CHARACTERS))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
            return "\n".join(lines)[-_TAIL_CHARACTERS:]
        return ""


def start(module: str, *arguments: str, log: Path, secrets: Mapping[str, str]) -> Process:
    """Run a module of tunewright. log: where its output goes. secrets: what it gets beside the plain environment."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    with storage.open_log(log) as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**environment, **secrets},
            start_new_session=True,
        )
    return Process(popen, log)


def end_group(pid: int) -> None:
    """Kill the leader of a group, its group, and those of its descendants that left it."""
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(pid).children(recursive=True)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def memory_of(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold: their resident sets, shared pages counted for each."""
    total = 0
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for one in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += int(one.memory_info().rss)
    return total


def disk_of(folder: Path) -> int:
    """Bytes of the files below a folder; a file that is linked from elsewhere counts too."""
    total = 0
    for home, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(home, name)).st_size
    return total
