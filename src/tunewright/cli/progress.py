"""The progress line on standard error: live on a terminal, plain lines at intervals elsewhere. Fed by run events."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_SECONDS = 10.0  # between lines where there is no terminal
MEMORY = 0.9  # how much of the past an average keeps at each step


@dataclass
class State:
    """What the line shows."""

    stage: str
    what: str = ""
    done: float = 0
    total: float = 0
    began: float = 0.0
    began_at: float = 0  # `done` when this loop was first seen: a resumed one does not start at zero
    loss: float | None = None
    lr: float | None = None
    speed: float | None = None  # tokens of the rows a second
    best: float | None = None
    counted: bool = False  # an event of its loop has come in

    def left(self, now: float) -> float | None:
        """Seconds until the loop ends, at the pace so far."""
        worked = self.done - self.began_at
        return (now - self.began) / worked * (self.total - self.done) if worked > 0 and self.total > self.done else None

    def words(self, now: float) -> str:
        """The line behind the bar."""
        parts = [f"{self.done:,.0f}/{self.total:,.0f}" if self.total else "", self.what]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if self.best is not None:
            parts.append(f"best validation loss {self.best:.3f}")
        if self.speed is not None:
            parts.append(f"{self.speed:,.0f} tokens/s")
        if self.lr is not None:
            parts.append(f"lr {self.lr:.1e}")
        left = self.left(now)
        if left is not None:
            parts.append(f"{duration(left)} left")
        return "  ".join(part for part in parts if part)


class Progress:
    """A listener of run events: `with Progress() as progress: run(..., listeners=[progress])`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self.live = Live(
            self,
            console=self.console,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.state: State | None = None
        self.last_line = 0.0
        self.phase: str | None = None  # whose stage the line shows

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live.is_started:
            self.live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Take in one event."""
        now = time.monotonic()
        kind = event["event"]
        if kind == "run_begins":
            self.console.print(event["run"], style="bold", soft_wrap=True)
        elif kind == "phase":
            told = "phase {number} of {total}: {phase}, {what}".format(**event)
            self.console.print(told, style="bold", soft_wrap=True)
        elif kind == "stage_begins":
            self.state = State(event["stage"], began=now)
            self.phase = event.get("phase")
            self.last_line = now
            if not self.console.is_terminal:
                self.console.print(f"{event['stage']} ...", soft_wrap=True)
        elif kind == "stage_kept":
            self.console.print(f"{event['stage']:<9} done before, kept", style="dim", soft_wrap=True)
        elif kind == "stage_done":
            verdict = f"  {event['verdict']}" if event.get("verdict") else ""
            self.console.print(f"{event['stage']:<9} done in {duration(event['seconds'])}{verdict}", soft_wrap=True)
            self.state = None
        elif kind == "step":
            self._step(event, now)
        elif kind == "validation" and self.state is not None:
            self.state.best = event["loss"] if event["best"] else self.state.best
        elif kind in ("warning", "alarm", "resume", "early_stop"):
            self._tell(event)
        elif kind == "progress":
            self._progress(event, now)
        self._plain(now)

    def _tell(self, event: dict[str, Any]) -> None:
        """What a person should know at once stays on the screen."""
        words = {
            "warning": "{message}",
            "alarm": "step {step}: {what}",
            "resume": "goes on from step {step}",
            "early_stop": "stops early at step {step}; step {best_step} was the best",
        }
        style = "yellow" if event["event"] in ("warning", "alarm") else "dim"
        self.console.print(
            f"{event['event'].replace('_', ' ')}: {words[event['event']].format(**event)}", style=style, soft_wrap=True
        )

    def _step(self, event: dict[str, Any], now: float) -> None:
        state = self._loop("train", "", event["step"] - 1, now - event["seconds"])
        state.done, state.total, state.lr = event["step"], event["total"], event["lr"]
        speed = event["tokens"] / max(event["seconds"], 1e-9)
        state.loss = _averaged(state.loss, event["loss"])
        state.speed = _averaged(state.speed, speed)

    def _progress(self, event: dict[str, Any], now: float) -> None:
        state = self._loop(event["stage"], str(event.get("what") or ""), event["done"], now)
        state.done, state.total = event["done"], event.get("total") or 0

    def _loop(self, stage: str, what: str, done: float, now: float) -> State:
        """The state of the loop an event belongs to; another loop of the same stage begins a new one."""
        if self.state is None or self.state.stage != stage or self.state.what != what or not self.state.counted:
            best = self.state.best if self.state is not None and self.state.stage == stage else None
            self.state = State(stage, what=what, began=now, began_at=done, best=best, counted=True)
        return self.state

    def _plain(self, now: float) -> None:
        if self.console.is_terminal or self.state is None or now - self.last_line < PLAIN_SECONDS:
            return
        self.last_line = now
        words = self.state.words(now) or duration(now - self.state.began)
        self.console.print(f"{self._named(self.state.stage):<9} {words}", soft_wrap=True)

    def _named(self, stage: str) -> str:
        return f"{self.phase} {stage}" if self.phase else stage

    def __rich__(self) -> Table | Group:
        """The live line."""
        state = self.state
        if state is None:
            return Group()
        now = time.monotonic()
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(width=16)
        line.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=state.total or None, completed=state.done, width=16, pulse=not state.total)
        words = state.words(now) or f"{duration(now - state.began)}"
        line.add_row(Text(self._named(state.stage), style="bold"), bar, Text(words))
        return line


def duration(seconds: float) -> str:
    """Seconds in words that a person reads at a glance."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _averaged(past: float | None, now: float) -> float:
    return now if past is None else MEMORY * past + (1 - MEMORY) * now
