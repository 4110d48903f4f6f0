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
# Made-up labels: no base can know them, a tuned one can.
LABELS = {"card": "zib", "parcel": "mog", "rate": "tak", "loan": "wep"}
OPENINGS = [
    "where is",
    "tell me about",
    "i have a question on",
    "please look at",
    "what about",
    "help me with",
    "any news of",
    "a word about",
]
ENDINGS = [
    "today",
    "please",
    "as soon as you can",
    "before friday",
    "for my sister",
    "again",
    "at last",
    "thanks",
    "if you can",
    "now",
]
# Small and quick: one thread, because the cores may be shared; no examples in prompts.
QUICK = ["train.threads=1", "train.patience=0", "evaluate.against=[base]", "evaluate.goal.beat=[base]"]
OVERFIT = [*QUICK, "method=lora", "train.steps=100", "train.batch=16", "train.evaluate_every=25"]


def changes(values: list[str]) -> list[str]:
    """As options of a command."""
    return [word for value in values for word in ("--set", value)]


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
