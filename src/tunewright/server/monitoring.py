"""Looks at the traffic of releases on a schedule, each look in a process of its own."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.errors import TunewrightError
from tunewright.core.report import EXIT_CODES
from tunewright.core.run import Run
from tunewright.models import own_servers
from tunewright.stages.monitor_card import LOOKS
from tunewright.workspace import logged_releases, traffic
from tunewright.workspace.logged_releases import Logged
from tunewright.workspace.place import Workspace

log = logging.getLogger("tunewright.server")

Figures = dict[tuple[str, str, str], dict[str, float]]
LATE_SECONDS = 3600.0  # a look that takes longer is ended
KEPT_SECONDS = 10.0  # for which gauges are told again without looking


@dataclass(frozen=True)
class Looking:
    """A look that is on its way."""

    logged: Logged
    process: subprocess.Popen[bytes]
    began: float
    said_from: int  # where in the log what it says begins


class Schedule:
    """One look at a time: `step` begins one that is due, or takes in one that has ended. It never waits."""

    def __init__(self, place: Workspace, *, command: Sequence[str] = (sys.executable, "-m", "tunewright.cli")) -> None:
        self.place = place
        self.command = command
        self.looking: Looking | None = None
        self._tried: dict[Path, float] = {}  # when a look at a release began, also where it failed
        self._told: tuple[float, Figures] | None = None  # gauges, and when they were read
        self.log = place.state / "monitor.log"  # what looks say on standard error

    def step(self) -> None:
        """Go on with the schedule."""
        hours = self.place.config.monitor.every_hours
        if self.looking is not None:
            self._take_in(self.looking)
        elif hours is not None:
            due = next((one for one in self.releases() if time.time() - self._last(one) >= 3600 * hours), None)
            if due is not None:
                self.looking = self._begin(due)

    def stop(self) -> None:
        """End a look that is on its way; the next server begins it anew."""
        if self.looking is not None:
            own_servers.end(self.looking.process)
            self.looking = None

    def releases(self) -> list[Logged]:
        """The releases that are looked at, each once: those of the config, else all whose answers were logged."""
        given = self.place.config.monitor.releases
        found: dict[Path, Logged] = {}
        for name in given or [one.release for one in traffic.count(self.place)]:
            try:
                logged = logged_releases.find(self.place, name)
            except TunewrightError as error:  # a bare base answers too, and a release may be gone
                log.log(logging.WARNING if given else logging.DEBUG, "monitor: %s", error)
                continue
            found.setdefault(logged.folder, logged)
        return list(found.values())

    def last_looks(self) -> dict[Logged, dict[str, Any]]:
        """The newest line of figures of each release."""
        return {one: look for one in self.releases() if (look := last_look(one)) is not None}

    def gauges(self) -> Figures:
        """Gauges for Prometheus, by release; read anew after some seconds."""
        if self._told is not None and time.monotonic() - self._told[0] < KEPT_SECONDS:
            return self._told[1]
        found: Figures = {}
        for release, look in self.last_looks().items():
            plain = {"alarms": len(look["alarms"]), "requests": look["requests"], "last_look": look["looked"]}
            for name, value in (plain | look["figures"]).items():
                word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
                key = (f"monitor_{word}", f"monitor: {name}", "release")
                found.setdefault(key, {})[release.name] = float(value)
        self._told = (time.monotonic(), found)
        return found

    def _last(self, logged: Logged) -> float:
        look = last_look(logged)
        return max(self._tried.get(logged.folder, 0.0), look["looked"] if look else 0.0)

    def _begin(self, logged: Logged) -> Looking:
        self._tried[logged.folder] = time.time()
        arguments = [*self.command, "monitor", str(logged.folder), "--workspace", str(self.place.folder), "--json"]
        with storage.open_log(self.log) as said:
            begins = said.seek(0, os.SEEK_END)
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        return Looking(logged, process, time.monotonic(), begins)

    def _take_in(self, looking: Looking) -> None:
        code = looking.process.poll()
        if code is None:
            if time.monotonic() - looking.began > LATE_SECONDS:
                log.warning("monitor: the look at %s takes too long and is ended", looking.logged.name)
                looking.process.kill()
            return
        self.looking = None
        report = Run(looking.logged.run).report("monitor")
        if code not in EXIT_CODES.values() or report is None:
            said = self.log.read_bytes()[looking.said_from :].decode("utf-8", "replace").strip()
            log.warning("monitor: the look at %s failed: %s", looking.logged.name, said[-500:] or f"exit code {code}")
        elif report.verdict == "NO-GO":
            log.warning("monitor: %s: %s", looking.logged.name, report.reason)


def last_look(logged: Logged) -> dict[str, Any] | None:
    """The newest line of figures about a release; None where nobody has looked."""
    found = None
    for row in storage.read_jsonl(logged.run / "monitor" / LOOKS):
        if row["release"] == logged.name:
            found = row
    return found
