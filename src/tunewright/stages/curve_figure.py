"""Geometry of the learning curve on the report page: measured points, the fitted law and its band, on a log axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tunewright.core.report import Report
from tunewright.stages import drawing, wording
from tunewright.stages.drawing import BOX, Tick

LEAST_GAP = 7.0  # percent between labels of the axis


@dataclass(frozen=True)
class Dot:
    """The mean grade at a size with its interval, in percent from the left and from the top."""

    x: float
    y: float
    top: float
    bottom: float
    title: str


@dataclass(frozen=True)
class CurveFigure:
    """The learning curve. known: where measured sizes end, in percent from the left."""

    lead: str
    band: str
    law: str
    dots: list[Dot]
    draws: list[tuple[float, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    known: float
    grader: str
    model: str
    facts: list[tuple[str, str]]
    cleaning: str | None


def figure(report: Report | None) -> CurveFigure | None:
    """The curve in a report of choose; None where there is none."""
    curve = report.numbers.get("learning_curve") if report else None
    if not curve or not curve["points"]:
        return None
    points, band = curve["points"], curve["band"]
    ends = [end for row in (*points, *band) for end in (row["low"], row["high"])]
    y_values = drawing.nice_ticks(min(ends), min(1.0, max(ends)))
    low, high = y_values[0], y_values[-1]
    left, right = math.log(points[0]["rows"] / 1.15), math.log(2 * points[-1]["rows"] * 1.05)

    def x(rows: float) -> float:
        return round(100 * (math.log(rows) - left) / (right - left), 2)

    def y(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    def path(places: list[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{BOX * x(rows) / 100:.1f} {BOX * y(value) / 100:.1f}" for rows, value in places)

    edge = [(row["rows"], row["high"]) for row in band] + [(row["rows"], row["low"]) for row in reversed(band)]
    sizes = [row["rows"] for row in points] + [2 * curve["rows"]]
    return CurveFigure(
        lead=f"By a {curve['model']}, not your model: {curve['sentence']}" if curve["proxy"] else curve["sentence"],
        band=path(edge) + "Z" if band else "",
        law=path([(row["rows"], row["value"]) for row in band]) if band else "",
        dots=[_dot(row, x, y) for row in points],
        draws=[(x(row["rows"]), y(value)) for row in points if len(row["draws"]) > 1 for value in row["draws"]],
        x_ticks=_apart([Tick(x(size), wording.count(size)) for size in sizes]),
        y_ticks=[Tick(y(value), f"{value:.2f}") for value in y_values],
        known=x(points[-1]["rows"]),
        grader=curve["grader"],
        model=curve["model"],
        facts=_facts(curve),
        cleaning=curve["cleaning"]["sentence"] if curve["cleaning"] else None,
    )


def _dot(row: dict[str, Any], x: Any, y: Any) -> Dot:
    title = f"{row['value']:.3f} from {row['rows']:,} rows, {row['low']:.3f} to {row['high']:.3f}"
    return Dot(x(row["rows"]), y(row["value"]), y(row["high"]), y(row["low"]), title)


def _apart(ticks: list[Tick]) -> list[Tick]:
    """Without labels that would stand on one another."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= LEAST_GAP:
            kept.append(tick)
    return kept


def _facts(curve: dict[str, Any]) -> list[tuple[str, str]]:
    found = [
        ("trainings", wording.count(curve["trainings"])),
        ("validation rows", wording.count(curve["validation_rows"])),
    ]
    if law := curve["law"]:
        found.append(("1 - grade", f"{law['offset']:.3f} + {law['scale']:.3g} rows^-{law['exponent']:.2f}"))
    if tested := curve["back_test"]:
        told = tested["foretold"]
        words = f"{told['value']:.3f} ({told['low']:.3f} to {told['high']:.3f}) foretold, {tested['measured']:.3f} came"
        found.append((f"back-test at {tested['rows']:,} rows", words))
    return [*found, ("took", wording.took(curve["seconds"]))]
