"""A listener of a job's run that tells its history what happens: metrics of each step, warnings, when it will end.

The run's events are the truth: after a crash they are told again from the beginning, and each thing is told once.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tunewright.core import storage
from tunewright.core.run import Run
from tunewright.stages import job_figures, job_recipe
from tunewright.workspace import ids
from tunewright.workspace.queue import Hold
from tunewright.workspace.tables import JobEvent

log = logging.getLogger("tunewright.server")

FLUSH_SECONDS = 0.5  # between two writes of metrics
_PACE_STEPS = 50  # of which the time for the rest is guessed
Track = Callable[[int, dict[str, Any]], None]  # step and its metrics


class Telling:
    """Called with each event of the run. Raises Stopped when the job was given to another worker."""

    def __init__(self, hold: Hold, run: Run, *, track: Track | None = None) -> None:
        self.hold, self.run, self.track = hold, run, track
        with hold.database.reading() as session:
            self.known = set(session.scalars(select(JobEvent.what).where(JobEvent.job_id == hold.job_id)))
        self.waiting: list[dict[str, Any]] = []
        self.step: job_figures.Figures | None = None  # the last one's, until it is known whether a look follows
        self.ends: float | None = None
        self._whole: bool | None = None  # whether looks are at all validation rows
        self._times: deque[float] = deque(maxlen=_PACE_STEPS)
        self._now = self._written = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Tell of an event."""
        kind, number, self._now = event["event"], event.get("step"), float(event["time"])
        if kind == "step":
            self._settle()
            self.step = job_figures.of_step(event)
            self._pace(event)
        elif kind == "validation" and number:
            self._look(event)
        elif kind == "skip":
            self._say(f"skip-{number}", f"Step {number} was left out: {event['reason']}", level="warn")
        elif kind == "early_stop":
            self._settle()
            self._say("early-stop", f"Training ended at step {number}: the validation loss falls no more")
        elif kind in ("warning", "alarm"):
            message = str(event.get("message") or f"Step {number}: {event.get('what')}")
            self._say(f"{kind}-{storage.digest(message)[:32]}", message, level="warn")
        elif kind in ("stage_done", "stage_kept"):
            self._settle()
            if event["stage"] == "choose":
                self._chosen()
            self.flush()
        elif kind == "checkpoint":
            self._settle()
            self.flush()
        elif kind == "resume":
            self._times.clear()
        if time.monotonic() - self._written > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting or self.ends is not None:
            try:
                with self.hold.writing() as (session, job):
                    session.add_all([JobEvent(**values) for values in self.waiting])
                    job.estimated_finish = self.ends or job.estimated_finish
            except OperationalError as error:
                log.warning("the job's history cannot be written now, and is later: %s", error.orig)
            else:
                self.waiting, self.ends = [], None
        self._written = time.monotonic()

    def _look(self, event: dict[str, Any]) -> None:
        if self._whole is None:
            self._whole = job_figures.looks_at_all(self.run)
        found = job_figures.of_look(event, whole=self._whole)
        if self.step is not None and self.step["step"] == event["step"]:
            self.step |= found
            return
        self._settle()  # the step was told before, as when a stop came between it and the look
        self._measured(f"look-{event['step']}", {"step": event["step"], **found})

    def _settle(self) -> None:
        """Tell of the last step."""
        if self.step is not None:
            step, self.step = self.step, None
            self._measured(f"step-{step['step']}", step)

    def _measured(self, what: str, figures: job_figures.Figures) -> None:
        total = f"/{figures['total_steps']}" if "total_steps" in figures else ""
        shown = "loss" if not any("mean_reward" in name for name in figures) else "mean_reward"
        parts = [
            f"{word} {shown.replace('_', ' ')}={figures[name]:.2f}"
            for word, name in (("training", f"train_{shown}"), ("validation", f"valid_{shown}"))
            if name in figures
        ]
        if what not in self.known and self.track is not None:
            self.track(int(figures["step"]), figures)
        self._say(what, f"Step {figures['step']}{total}: {', '.join(parts)}", data=figures)

    def _say(self, what: str, message: str, *, level: str = "info", data: dict[str, Any] | None = None) -> None:
        if what in self.known:
            return
        self.known.add(what)
        kind = "message" if data is None else "metrics"
        about = {"id": ids.new("ftevent-"), "job_id": self.hold.job_id, "created": self._now}
        self.waiting.append({**about, "what": what, "message": message, "level": level, "type": kind, "data": data})

    def _pace(self, event: dict[str, Any]) -> None:
        self._times.append(float(event["time"]))
        if len(self._times) > 1 and time.time() - self._times[-1] < 60:  # not an event of an earlier attempt
            seconds = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
            self.ends = time.time() + seconds * (event["total"] - event["step"])

    def _chosen(self) -> None:
        """Show the numbers that were taken for "auto", and when the job may end."""
        report = self.run.report("choose")
        assert report is not None, "it is done"
        chosen = self.run.recipe()
        with self.hold.writing() as (_, job):
            job.method = job_recipe.resolved(job.method, chosen)
            job.estimated_finish = job.estimated_finish or time.time() + float(report.numbers["seconds"])
