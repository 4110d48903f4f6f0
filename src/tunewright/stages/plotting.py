"""Geometry of an evaluation's figures: intervals by grader, quality against cost, confidence, and guards' bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunewright.core.budget import FIGURES
from tunewright.core.report import Measure
from tunewright.stages import drawing, wording
from tunewright.stages.drawing import Tick, Whisker

COSTS = {"cost_per_1000": "cost of 1,000 answers", "latency_p95": "seconds within which 95 of 100 answers came"}
WIDE = 40  # an axis of costs is logarithmic where the largest is so many times the smallest
LEAST_GAP = 7.0  # percent of the height between two names


@dataclass(frozen=True)
class Panel:
    """One grader's figures of all contestants on one scale. bar: where the goal's bound is, in percent."""

    grader: str
    rows: list[Whisker]
    ticks: list[Tick]
    bar: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Spot:
    """A contestant in the plane of quality and cost; places in percent, `name_y` where its name stands."""

    name: str
    x: float
    y: float
    low: float
    high: float
    name_y: float
    state: str  # front, beaten, or dear: over the budget
    title: str


@dataclass(frozen=True)
class Trade:
    """Quality against one cost, with the Pareto front as a stair. limit: the budget's place, in percent."""

    key: str
    cost: str
    grader: str
    spots: list[Spot]
    stair: str
    limit: float | None
    limit_words: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    front: list[str]


@dataclass(frozen=True)
class Curve:
    """Dots in a square of which both sides go from 0 to 1 (or from `floor` up), with a path through them."""

    dots: list[tuple[float, float, float, str]]  # x, y, radius, title
    path: str
    band: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True)
class Strip:
    """A guard's measure beside its bound, in percent of a scale of its own."""

    at: float
    low: float
    high: float
    bound: float
    zero: float | None


def panel(
    grader: str, figures: Mapping[str, Mapping[str, Any]], *, mine: Sequence[str], at_least: float | None = None
) -> Panel | None:
    """The contestants' figures by a grader; None when nobody has one. mine: who is drawn in colour."""
    found = {name: one[grader] for name, one in figures.items() if one.get(grader)}
    if not found:
        return None
    edges = [one[key] for one in found.values() for key in ("low", "value", "high")]
    values = [0.0, 0.25, 0.5, 0.75, 1.0]
    if min(edges) < 0 or max(edges) > 1:
        values = drawing.nice_ticks(min(edges), max(edges))
    left, right = values[0], values[-1]
    rows = [drawing.whisker(name, one, mine=name in mine, left=left, span=right - left) for name, one in found.items()]
    ticks = [Tick(100 * (value - left) / (right - left), wording.figure(value, 2)) for value in values]
    bar = None if at_least is None else 100 * (at_least - left) / (right - left)
    return Panel(grader, rows, ticks, bar, at_least)


def trades(
    figures: Mapping[str, Mapping[str, Any]],
    grader: str,
    fronts: Mapping[str, Sequence[str]],
    budget: Mapping[str, Any] | None,
) -> list[Trade]:
    """A picture for each cost of which a front is known. fronts, budget: as in the report's `numbers`."""
    limits = {FIGURES[key]: bound for key, bound in (budget or {}).items() if key in FIGURES and bound is not None}
    return [_trade(figures, grader, key, list(front), limits) for key, front in fronts.items() if key in COSTS]


def _trade(
    figures: Mapping[str, Mapping[str, Any]], grader: str, key: str, front: list[str], limits: Mapping[str, float]
) -> Trade:
    there = {name: one for name, one in figures.items() if one.get(grader) and one.get(key) is not None}
    costs = [float(one[key]) for one in there.values()]
    limit = limits.get(key)
    axis = _Axis([*costs, limit] if limit is not None else costs)
    edges = [one[grader][edge] for one in there.values() for edge in ("low", "high")]
    y_values = drawing.nice_ticks(min(edges), max(edges))
    bottom, height = y_values[0], y_values[-1] - y_values[0]

    def y(value: float) -> float:
        return round(100 * (1 - (value - bottom) / height), 2)

    spots = []
    for name, one in there.items():
        measured = one[grader]
        over = any(one.get(other) is not None and one[other] > bound for other, bound in limits.items())
        title = f"{name}: {measured['value']:.3f} ({measured['low']:.3f} to {measured['high']:.3f}) at {one[key]:.3g}"
        state = "front" if name in front else "dear" if over else "beaten"
        at = y(measured["value"])
        spots.append(Spot(name, axis.x(one[key]), at, y(measured["low"]), y(measured["high"]), at, state, title))
    return Trade(
        key=key,
        cost=COSTS[key],
        grader=grader,
        spots=_named(spots),
        stair=_stair([spot for spot in spots if spot.state == "front"]),
        limit=None if limit is None else axis.x(limit),
        limit_words="" if limit is None else f"budget {wording.brief(limit)}",
        x_ticks=axis.ticks(),
        y_ticks=[Tick(y(value), drawing.tick_label(value, y_values)) for value in y_values],
        front=front,
    )


class _Axis:
    """Costs from left to right: from 0, or logarithmic where they differ much."""

    def __init__(self, costs: Sequence[float]) -> None:
        self.top = max(costs) or 1.0
        self.log = min(costs) > 0 and max(costs) / min(costs) >= WIDE
        self.values = drawing.nice_ticks(0.0, self.top)
        if self.log:
            first, last = math.floor(math.log10(min(costs))), math.ceil(math.log10(self.top))
            self.values = [10.0**power for power in range(first, last + 1)]

    def x(self, cost: float) -> float:
        first, last = self.values[0], self.values[-1]
        if self.log:
            return round(100 * math.log10(cost / first) / math.log10(last / first), 2)
        return round(100 * cost / last, 2)

    def ticks(self) -> list[Tick]:
        return [Tick(self.x(value), wording.brief(value)) for value in self.values]


def _named(spots: Sequence[Spot]) -> list[Spot]:
    """With names moved apart, from above, where they would stand on each other."""
    found: list[Spot] = []
    for spot in sorted(spots, key=lambda one: one.y):
        near = [one.name_y for one in found if abs(one.x - spot.x) < 30]
        place = max([spot.y, *(at + LEAST_GAP for at in near if at + LEAST_GAP > spot.y)])
        found.append(replace(spot, name_y=round(place, 2)))
    return found


def _stair(front: Sequence[Spot]) -> str:
    """What is reached at each cost: from each spot to the right, and up at the next."""
    steps = sorted(front, key=lambda spot: spot.x)
    if not steps:
        return ""
    path = f"M{10 * steps[0].x:.1f} {drawing.BOX}V{10 * steps[0].y:.1f}"
    path += "".join(f"H{10 * spot.x:.1f}V{10 * spot.y:.1f}" for spot in steps[1:])
    return f"{path}H{drawing.BOX}"


# --- confidence ---


def reliability(points: Sequence[Mapping[str, Any]]) -> Curve | None:
    """How often answers were right at each stated confidence; the area of a dot grows with its rows."""
    there = [one for one in points if _is_number(one.get("confidence")) and _is_number(one.get("accuracy"))]
    if not there:
        return None
    most = max(float(one.get("n") or 1) for one in there)
    dots = [
        (
            round(100 * one["confidence"], 2),
            round(100 * (1 - one["accuracy"]), 2),
            round(2.5 + 6.5 * math.sqrt((one.get("n") or 1) / most), 2),
            f"confidence {one['confidence']:.2f}: {one['accuracy']:.2f} right, {wording.count(one.get('n') or 0)} rows",
        )
        for one in there
    ]
    return Curve(dots, _line([dot[:2] for dot in sorted(dots)]), "", _shares(), [_turned(tick) for tick in _shares()])


def coverage(points: Sequence[Mapping[str, Any]]) -> Curve | None:
    """How often answers were right among the surest ones, by how many of all they are; the band goes down to `low`."""
    there = [one for one in points if _is_number(one.get("coverage")) and _is_number(one.get("accuracy"))]
    there.sort(key=lambda one: float(one["coverage"]))
    if not there:
        return None
    lows = [float(one["low"]) if _is_number(one.get("low")) else float(one["accuracy"]) for one in there]
    values = [value for value in drawing.nice_ticks(max(0.0, min(*lows, 0.9)), 1.0, 4) if value <= 1.0]
    floor, span = values[0], values[-1] - values[0]

    def y(value: float) -> float:
        return round(100 * (1 - (value - floor) / span), 2)

    upper = [(round(100 * one["coverage"], 2), y(one["accuracy"])) for one in there]
    lower = [(x, y(low)) for (x, _), low in zip(upper, lows, strict=True)]
    dots = [(x, at, 3.0, _covered(one)) for (x, at), one in zip(upper, there, strict=True)]
    return Curve(
        dots if len(dots) <= 40 else [],
        _line(upper),
        _line([*upper, *reversed(lower)]) + "Z",
        _shares(),
        [Tick(y(value), drawing.tick_label(value, values)) for value in values],
    )


def _covered(one: Mapping[str, Any]) -> str:
    above = f" (confidence at least {one['threshold']:.2f})" if _is_number(one.get("threshold")) else ""
    return f"{one['coverage']:.0%} of the answers{above}: {one['accuracy']:.3f} right"


def _shares() -> list[Tick]:
    return [Tick(at, f"{at / 100:.2g}") for at in (0, 25, 50, 75, 100)]


def _turned(tick: Tick) -> Tick:
    return Tick(100 - tick.at, tick.label)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{10 * x:.1f} {10 * y:.1f}" for x, y in points)


# --- guards ---


def strip(measure: Measure) -> Strip | None:
    """A measure's interval beside its bound; None where it lacks either."""
    if measure.bound is None or measure.low is None or measure.high is None:
        return None
    values = [measure.low, measure.high, measure.bound, measure.value]
    if not all(math.isfinite(value) for value in values):
        return None
    low, high = min(*values, 0.0), max(values)
    margin = 0.06 * ((high - low) or 1.0)
    left, span = low - margin, (high - low) + 2 * margin

    def x(value: float) -> float:
        return round(100 * (value - left) / span, 2)

    return Strip(x(measure.value), x(measure.low), x(measure.high), x(measure.bound), x(0.0) if low < 0 else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
