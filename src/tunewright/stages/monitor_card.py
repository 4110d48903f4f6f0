"""The part of the report page about the traffic of a release: the last look, and its figures over all looks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tunewright.core import storage
from tunewright.core.report import Finding
from tunewright.core.run import Run

LOOKS = "looks.jsonl"  # in monitor/: a line of figures for each look
MOST_LOOKS = 100  # that a picture shows
BADGES = {"GO": "nothing stands out", "NO-GO": "alarm", "NEED MORE": "too little traffic"}


@dataclass(frozen=True)
class Row:
    """One figure: its name, value, what it is read beside, whether it raised an alarm, and its path over the looks in a
    picture of 100 by 20.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    beside: str
    beside_value: float | None
    alarm: bool
    path: str


@dataclass(frozen=True)
class WatchedCard:
    """The last look at the traffic."""

    lead: str
    reason: str
    rows: list[Row]
    findings: list[Finding]
    num_looks: int


def card(run: Run) -> WatchedCard | None:
    """What the page tells of the traffic; None where nobody has looked yet."""
    report = run.report("monitor")
    if report is None:
        return None
    numbers = report.numbers
    looks = [one for one in storage.read_jsonl(run.path("monitor", LOOKS)) if one["release"] == numbers["release"]]
    looks = looks[-MOST_LOOKS:]
    when = time.strftime("%d %B %Y", time.gmtime(looks[-1]["time"])).lstrip("0") if looks else ""
    rows = [
        _row(f"{name}: {figure['name']}", figure, looks)
        for name, found in numbers["monitors"].items()
        for figure in found["figures"]
    ]
    return WatchedCard(
        lead=f"{numbers['release']}, {numbers['requests']:,} requests until {when}: {BADGES[str(report.verdict)]}.",
        reason=report.reason or "",
        rows=sorted(rows, key=lambda row: not row.alarm),
        findings=report.findings,
        num_looks=len(looks),
    )


def _row(name: str, figure: dict[str, Any], looks: list[dict[str, Any]]) -> Row:
    kinds = (("bound", "at most"), ("usual", "by chance up to"), ("reference", "was"))
    beside = next(((word, figure[key]) for key, word in kinds if figure[key] is not None), ("", None))
    known = figure["low"] is not None and figure["high"] is not None
    return Row(
        name=name,
        value=figure["value"],
        interval=(figure["low"], figure["high"]) if known else None,
        beside=beside[0],
        beside_value=beside[1],
        alarm=figure["alarm"],
        path=_path([one["figures"].get(name) for one in looks]),
    )


def _path(values: list[float | None]) -> str:
    """A line through the values, 100 wide and 20 high; broken where a look lacks one."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    step, path, broken = 100 / max(1, len(values) - 1), "", True
    for at, value in enumerate(values):
        if value is not None:
            path += f"{'M' if broken else 'L'}{at * step:.1f} {19 - 18 * (value - low) / span:.1f}"
        broken = value is None
    return path
