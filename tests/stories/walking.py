"""Walks the paths of a user: every command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 600  # no command of a story takes longer


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """What --json printed."""
        return dict(json.loads(self.out))


def tunewright(*arguments: str | Path, folder: Path) -> Ended:
    """Run `tunewright ARGUMENTS` in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tunewright.cli", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)
