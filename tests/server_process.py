"""A server in a process of its own, with the official client in front of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def wait_for(self, live: int, *, seconds: float) -> bool:
        """Whether so many answers are being written, and none waits, within that time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.health() == {"status": "ok", "live": live, "waiting": 0}:
                return True
            time.sleep(0.05)
        return False

    def client(self, key: str = "none") -> OpenAI:
        """The official client."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30)

    def health(self) -> dict[str, Any]:
        """What /healthz says."""
        return dict(httpx.get(f"{self.url}/healthz").json())

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(timeout=60)


def start(runs: Path, names: list[str], log: Path, **options: Any) -> Server:
    """Start a server on a free port and wait until it answers."""
    port = free_port()
    code = (
        "import atexit, gc; gc.disable(); atexit.register(gc.freeze)\n"  # to begin and to end sooner
        "import logging; logging.basicConfig(level=logging.INFO, format='%(relativeCreated)d %(message)s')\n"
        "from tunewright.server.app import serve; gc.enable()\n"
        f"serve({names!r}, runs_folder={str(runs)!r}, port={port}, **{options!r})\n"
    )
    return started(code, port, log)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def started(code: str, port: int, log: Path) -> Server:
    """Run Python code that serves at a port, and wait until it answers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=file, stderr=file, env=environment)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        try:
            server.health()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return server
    server.process.kill()
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
