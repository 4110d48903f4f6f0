"""A contender's work in units. After the first unit, which warms up, it sleeps between turns until it is told to go on,
so that processes that are started once can be measured in turns.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Turns:
    """Times the units of one process. told, tell: file descriptors to and from `measuring`; without them it never
    waits.
    """

    def __init__(self, *, born: float, size: int, told: int | None = None, tell: int | None = None) -> None:
        self.born, self.size, self.told, self.tell = born, size, told, tell
        self.done = 0
        self.first_step_seconds = 0.0
        self.turns: list[dict[str, float]] = []
        self.check: dict[str, list[Any]] = {}  # what shows that all contenders do the same work
        self._started = 0.0

    @contextmanager
    def unit(self) -> Iterator[dict[str, float]]:
        """One unit of work; the block fills in how much it was."""
        amounts: dict[str, float] = {}
        self.begin()
        yield amounts
        self.end(amounts)

    def begin(self) -> None:
        """Before a unit: waits if a turn is over."""
        if self._turn_is_over() and self.told is not None and not os.read(self.told, 1):
            sys.exit("The benchmark has ended.")
        if self.done == 0 or self._turn_is_over():
            self._started = time.perf_counter()
            self.turns.append({})

    def end(self, amounts: dict[str, float]) -> None:
        """After a unit: what was done."""
        now = time.perf_counter()
        turn = self.turns[-1]
        for name, amount in {**amounts, "seconds": now - self._started}.items():
            turn[name] = turn.get(name, 0.0) + amount
        self._started = now
        self.done += 1
        if self.done == 1:
            self.first_step_seconds = time.time() - self.born
        if self._turn_is_over() and self.tell is not None:
            os.write(self.tell, b".")

    def _turn_is_over(self) -> bool:
        return self.done > 0 and (self.done - 1) % self.size == 0

    def facts(self) -> dict[str, Any]:
        """Everything but the warm-up."""
        return {
            "turns": self.turns[1:],
            "first_step_seconds": self.first_step_seconds,
            "peak_memory_bytes": peak_memory(),
            "check": self.check,
        }


def peak_memory() -> int:
    """The most memory that this program has held, in bytes. Linux's own count where there is one: a child's
    `ru_maxrss` begins at what its parent held.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
