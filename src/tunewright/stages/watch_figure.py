"""The figure of what a training forgets: nats a token of general text, look by look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunewright.stages import wording
from tunewright.stages.drawing import BOX, Tick, nice_ticks


@dataclass(frozen=True)
class Dot:
    """A look, in percent from the left and from the top."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class WatchFigure:
    """The looks as dots and a line, with labelled places on both axes."""

    path: str
    dots: list[Dot]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    first: float
    last: float


def figure(looks: Mapping[int, float], *, end: int) -> WatchFigure | None:
    """The figure of at least two looks. end: the last step of the training's axis."""
    if len(looks) < 2:
        return None
    values = list(looks.values())
    rules = nice_ticks(min(values), max(values), 3)
    span, width = rules[-1] - rules[0], max(end, *looks) or 1
    places = {step: (step / width, (rules[-1] - nats) / span) for step, nats in looks.items()}
    return WatchFigure(
        path="M" + "L".join(f"{BOX * x:.1f} {BOX * y:.1f}" for x, y in places.values()),
        dots=[
            Dot(round(100 * x, 2), round(100 * y, 2), f"{looks[step]:.4f} nats a token after step {step:,}")
            for step, (x, y) in places.items()
        ],
        x_ticks=[Tick(100 * at / width, wording.count(at)) for at in nice_ticks(0.0, width) if at <= width],
        y_ticks=[Tick(100 * (rules[-1] - at) / span, f"{at:g}") for at in rules],
        first=values[0],
        last=values[-1],
    )
