"""Geometry of the figures on the report page: numbers in; percentages and paths out, which the template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.stages import wording

BOX = 1000  # paths are drawn in a square of this side, stretched to the figure's size
RAW_BUCKETS = 500
SMOOTH_POINTS = 300
MOST_LOOKS = 120
BAR_WIDTH = 0.92  # of a histogram's bin
Series = list[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in percent from the left or from the top."""

    at: float
    label: str


@dataclass(frozen=True)
class Look:
    """One validation loss as a point, in percent."""

    x: float
    y: float
    best: bool
    title: str


@dataclass(frozen=True)
class LossFigure:
    """Training and validation loss over the steps, and the learning rate below."""

    raw: str
    smooth: str
    rate: str
    looks: list[Look]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    window: int
    num_steps: int
    last_loss: float | None
    peak_rate: float
    best_step: int | None
    best_loss: float | None


@dataclass(frozen=True)
class Whisker:
    """One contestant's figure with its interval, in percent of a scale. mine: drawn in colour."""

    name: str
    at: float
    low: float
    high: float
    value: float
    low_value: float
    high_value: float
    mine: bool = False


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram, in percent."""

    x: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """Counts over equal bins, with labels below."""

    name: str
    bars: list[Bar]
    ticks: list[Tick]
    facts: list[tuple[str, str]]


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that cover low to high: steps of 1, 2 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    rough = span / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def whisker(name: str, found: dict[str, Any], *, mine: bool = False, left: float = 0.0, span: float = 1.0) -> Whisker:
    """A dot with its interval on a scale that begins at `left`."""
    value, low, high = float(found["value"]), float(found["low"]), float(found["high"])
    at, start, end = (_percent((one - left) / span) for one in (value, low, high))
    return Whisker(name, at, start, end, value, low, high, mine)


def losses(
    steps: Sequence[dict[str, Any]], looks: Sequence[dict[str, Any]], *, total: int | None = None
) -> LossFigure | None:
    """The loss figure; None before the first step. total: the planned steps, when more are to come."""
    raw = [(float(row["step"]), float(row["loss"])) for row in steps if math.isfinite(row["loss"])]
    points = [row for row in looks if math.isfinite(row["loss"])]
    if not raw:
        return None
    window = max(1, len(raw) // 40)
    smooth = _smoothed(raw, window)
    heights = [y for _, y in smooth] + [float(row["loss"]) for row in points]
    raw_sorted = sorted(y for _, y in raw)
    top = max(*heights, raw_sorted[int(0.98 * (len(raw_sorted) - 1))])
    bottom = min(*heights, raw_sorted[0])
    y_values = nice_ticks(0.0 if 0 <= bottom < 0.4 * top else bottom, top)  # a reward without a best leaves less than 0
    end = max(raw[-1][0], float(total or 0), *(float(row["step"]) for row in points))
    x_values = [value for value in nice_ticks(0.0, end) if value <= end]
    scale = _Scale(0.0, end, y_values[0], y_values[-1])
    rates = [(float(row["step"]), float(row["lr"])) for row in steps]
    peak = max(y for _, y in rates)
    best = _best(points)
    return LossFigure(
        raw=_path(_extremes(raw, RAW_BUCKETS), scale),
        smooth=_path(_thinned(smooth, SMOOTH_POINTS), scale),
        rate=_path(_thinned(rates, SMOOTH_POINTS), _Scale(0.0, end, 0.0, peak or 1.0)),
        looks=[_look(row, best, scale) for row in _few(points, best)],
        x_ticks=[Tick(scale.x(value) * 100, wording.count(value)) for value in x_values],
        y_ticks=[Tick(scale.y(value) * 100, tick_label(value, y_values)) for value in y_values],
        window=2 * (window // 2) + 1,
        num_steps=int(raw[-1][0]),
        last_loss=smooth[-1][1],
        peak_rate=peak,
        best_step=int(best["step"]) if best else None,
        best_loss=float(best["loss"]) if best else None,
    )


def histogram(name: str, edges: Sequence[float], counts: Sequence[int], facts: list[tuple[str, str]]) -> Histogram:
    """Bars over equal bins; `edges` has one number more than `counts`."""
    tallest, first, span = max(counts, default=0) or 1, edges[0], (edges[-1] - edges[0]) or 1.0
    bars = [
        Bar(
            x=round(100 * (left - first) / span, 3),
            width=round(BAR_WIDTH * 100 * (right - left) / span, 3),
            height=round(100 * number / tallest, 3),
            title=f"{wording.count(left)} to {wording.count(right)} characters: {wording.count(number)} rows",
        )
        for left, right, number in zip(edges, edges[1:], counts, strict=False)
        if number
    ]
    inside = [value for value in nice_ticks(first, edges[-1], 4) if first <= value <= first + 0.94 * span]
    ticks = [Tick(round(100 * (value - first) / span, 3), wording.count(value)) for value in inside]
    return Histogram(name, bars, ticks, facts)


# --- scales and curves ---


@dataclass(frozen=True)
class _Scale:
    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        return (value - self.left) / ((self.right - self.left) or 1.0)

    def y(self, value: float) -> float:
        return 1 - (value - self.bottom) / ((self.top - self.bottom) or 1.0)


def _percent(value: float) -> float:
    return round(100 * min(1.0, max(0.0, value)), 3)


def tick_label(value: float, values: Sequence[float]) -> str:
    """A value of an axis with as many places as its steps need."""
    step = values[1] - values[0]
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _path(points: Series, scale: _Scale) -> str:
    if len(points) == 1:
        points = [*points, (points[0][0] + 1e-6, points[0][1])]
    return "M" + "L".join(f"{BOX * scale.x(x):.1f} {BOX * scale.y(y):.1f}" for x, y in points)


def _smoothed(points: Series, window: int) -> Series:
    """The mean over a centred window, which does not lag behind; narrower at the ends."""
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    half, last = window // 2, len(points) - 1
    found = []
    for place, (x, _) in enumerate(points):
        reach = min(half, place, last - place)
        found.append((x, (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)))
    return found


def _thinned(points: Series, most: int) -> Series:
    if len(points) <= most:
        return points
    return [points[round(number * (len(points) - 1) / (most - 1))] for number in range(most)]


def _extremes(points: Series, buckets: int) -> Series:
    """Lowest and highest point of each bucket, so that thinning hides no spike."""
    if len(points) <= 2 * buckets:
        return points
    found: Series = []
    for number in range(buckets):
        part = points[number * len(points) // buckets : (number + 1) * len(points) // buckets]
        found += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return found


def _best(looks: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return min(looks, key=lambda row: row["loss"], default=None)


def _few(looks: Sequence[dict[str, Any]], best: dict[str, Any] | None) -> list[dict[str, Any]]:
    stride = max(1, math.ceil(len(looks) / MOST_LOOKS))
    return [row for place, row in enumerate(looks) if place % stride == 0 or row is best]


def _look(row: dict[str, Any], best: dict[str, Any] | None, scale: _Scale) -> Look:
    title = f"validation loss {row['loss']:.4f} after step {row['step']:,}"
    return Look(round(100 * scale.x(row["step"]), 2), round(100 * scale.y(row["loss"]), 2), row is best, title)
