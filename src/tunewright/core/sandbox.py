"""Runs Python source of others in a process of its own, with limits: for graders whose grade is computed by code."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Literal

Status = Literal["done", "failed", "late"]
MOST_SAID = 1 << 20  # bytes of each stream that are kept; the rest is read and thrown away
_MEBIBYTE = 1 << 20
# The source comes first on standard input, so that nothing of it is written to a disk. Limits are set by the process
# itself: code that runs between fork and exec is not safe where there are threads. 0x50000000 is CLONE_NEWUSER and
# CLONE_NEWNET: users and a network of its own, the latter without any way out.
_START = """
import sys
def begin():
    import resource
    memory, seconds, size = (int(word) for word in sys.stdin.buffer.readline().split())
    for what, most in (("AS", memory), ("CPU", seconds), ("FSIZE", memory), ("CORE", 0), ("NOFILE", 64)):
        try:
            resource.setrlimit(getattr(resource, "RLIMIT_" + what), (most, most))
        except (ValueError, OSError):
            pass
    try:
        import ctypes
        if ctypes.CDLL(None).unshare(0x50000000) == 0:
            resource.setrlimit(resource.RLIMIT_NPROC, (32, 32))
    except (ImportError, AttributeError, ValueError, OSError):
        pass
    return compile(sys.stdin.buffer.read(size).decode(), "<source>", "exec")
source = begin()
del begin, sys
exec(source, {"__name__": "__main__", "__builtins__": __builtins__})
"""


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


def run(source: str, *, stdin: str = "", seconds: float = 5.0, memory: int = 512) -> Ran:
    """Run Python source. seconds: of the clock, and of the CPU (rounded up). memory: MiB of address space.

    The process gets no environment but a path, an empty folder that is removed afterwards as its home and its working
    folder, no module path beside the installed packages; where the system lets it cut itself off (Linux with user
    namespaces), no network and, but for root, few processes. All of its group is killed in the end. It guards
    against mistakes, endless loops and memory; it is no prison for code that wants to break out: it can read files that
    the user can read.
    """
    code = source.encode()
    head = f"{memory * _MEBIBYTE} {int(seconds) + 1} {len(code)}\n".encode()
    # a program that ends without reading leaves files behind only in its folder
    with tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", _START],
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
