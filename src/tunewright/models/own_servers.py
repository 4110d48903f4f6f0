"""Servers of other engines in processes of this one's: a port and a key for each, and waiting until it answers."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, field

import httpx


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes], *, seconds: float = 10.0) -> None:
    """Ask a process to end, and kill it where it takes longer than that."""
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Address:
    """Where such a server listens, on this machine alone, and the key without which it answers nobody."""

    port: int = field(default_factory=free_port)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What goes with each request."""
        return {"authorization": f"Bearer {self.key}"}

    def answers(self, process: subprocess.Popen[bytes], *, seconds: float) -> bool:
        """Wait until the process answers there; False where it ends before, or takes longer."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", headers=self.headers, timeout=5).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        return False
