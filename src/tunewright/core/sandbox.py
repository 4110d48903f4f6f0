"""Runs Python source of others in a process of its own, with limits: for graders whose grade is computed by code."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Literal

from tunewright.core import confined

Status = Literal["done", "failed", "late"]
MOST_SAID = 1 << 20  # bytes of each stream that are kept; the rest is read and thrown away
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Ran:
    """What a program said, and how it ended: done (exit code 0), failed (another one), or late (stopped)."""

    stdout: str
    stderr: str
    status: Status

    @property
    def why(self) -> str:
        """The last thing a failed program said of itself, in a line."""
        if self.status == "late":
            return "took too long"
        lines = self.stderr.strip().splitlines()
        return "" if self.status == "done" else lines[-1][:200] if lines else "ended without a word"


def run(source: str, *, stdin: str = "", seconds: float = 5.0, memory: int = 512, files: int = 16) -> Ran:
    """Run Python source. seconds: of the clock, and of the CPU of each process (rounded up). memory: MiB of address
    space of each process. files: MiB that each file may grow to.

    The process gets no environment but a path, an empty folder that is removed afterwards as its home and its working
    folder, no module path beside the installed packages. core/confined.py takes from it what the system lets it: on
    Linux with user namespaces and Landlock there is no network, nothing outside its folder can be written, nothing but
    Python and the system's libraries read, no more than 32 processes run, and all of them end with it, whatever they
    do. Elsewhere limits on time, memory and file size stay, and its process group is killed in the end. It guards
    against mistakes and against what models write; it is no prison for code that attacks the system's kernel.
    """
    code = source.encode()
    # the source comes on standard input, so that nothing of it is written to a disk; a program that ends without
    # reading leaves files behind only in its folder
    with tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as folder:
        limits = (memory * _MEBIBYTE, int(seconds) + 1, files * _MEBIBYTE, _stranger(folder), len(code))
        head = (" ".join(map(str, limits)) + "\n").encode()
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", confined.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
            | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        said: dict[str, bytes] = {}
        threads = [
            threading.Thread(target=_send, args=(process.stdin, head + code + stdin.encode()), daemon=True),
            threading.Thread(target=_keep, args=(process.stdout, said, "stdout"), daemon=True),
            threading.Thread(target=_keep, args=(process.stderr, said, "stderr"), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            status: Status = "done" if process.wait(timeout=seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "late"
        finally:
            _kill(process)
            for thread in threads:
                thread.join(timeout=1.0)
    texts = [said.get(name, b"").decode("utf-8", "replace") for name in ("stdout", "stderr")]
    return Ran(texts[0], texts[1], status)


def _stranger(folder: str) -> int:
    """A user that nobody is, for root to become, who owns the folder now; 0 for others, and where that is refused."""
    if sys.platform != "linux" or os.getuid() != 0:
        return 0
    user = 50_000 + secrets.randbelow(10_000)  # each run has its own
    try:
        os.chown(folder, user, user)
    except OSError:  # a container's root may own nothing for others
        return 0
    return user


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever it began."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _send(stream: IO[bytes], content: bytes) -> None:
    with contextlib.suppress(OSError), stream:  # it may end without reading all of it
        stream.write(content)


def _keep(stream: IO[bytes], said: dict[str, bytes], name: str) -> None:
    with stream:
        said[name] = stream.read(MOST_SAID)
        while stream.read(_MEBIBYTE):
            pass
