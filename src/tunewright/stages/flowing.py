"""Geometry of the figure that shows where rows went: read, dropped for some reason, kept, parted into sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BOX = 1000  # the figure is drawn in a square of this side, stretched to its size
LEAST = 9  # height of the thinnest stream, so that one row of a million is seen
HEIGHT = 560  # of all rows that were read, where some are dropped
KEPT_AT = 640  # where the kept rows are parted
NODE = 9
GAP = 45  # between sides
_LABEL_GAP = 15.0  # between the labels of sides, in percent of the height


@dataclass(frozen=True)
class Stream:
    """Rows that go one way. at: where the label stands, in percent; node: the block at the stream's end."""

    name: str
    kind: str
    num: int
    share: float
    path: str
    at: float
    node: tuple[float, float] = (0.0, 0.0)  # top and height


@dataclass(frozen=True)
class Funnel:
    """Where rows went."""

    num_read: int
    num_kept: int
    kept_at: float
    kept: tuple[float, float]  # top and height of the kept rows
    read: float  # height of the rows that were read
    drops: list[Stream]
    sides: list[Stream]


def funnel(read: int, drops: Sequence[tuple[str, str, int]], sides: Sequence[tuple[str, int]]) -> Funnel | None:
    """Streams for rows read, dropped (name, kind and number) and kept on each side; None where nothing was read."""
    drops = [one for one in drops if one[2] > 0]
    sides = [one for one in sides if one[1] > 0]
    kept = sum(num for _, num in sides)
    if not read or not kept:
        return None
    height = HEIGHT if drops else BOX - GAP * max(0, len(sides) - 1)
    thick = _heights([num for _, _, num in drops] + [kept], height)
    kept_height = thick[-1]
    return Funnel(
        num_read=read,
        num_kept=kept,
        kept_at=KEPT_AT / BOX * 100,
        kept=(0.0, kept_height),
        read=float(height),
        drops=_drops(drops, thick[:-1], kept_height, read),
        sides=_sides(sides, kept_height, kept),
    )


def _heights(numbers: Sequence[int], height: float) -> list[float]:
    """Heights in proportion to numbers, none below LEAST; together the height."""
    total = sum(numbers)
    wanted = [max(LEAST, height * number / total) for number in numbers]
    over = sum(wanted) - height
    largest = max(range(len(wanted)), key=wanted.__getitem__)
    wanted[largest] -= over
    return wanted


def _drops(drops: Sequence[tuple[str, str, int]], thick: Sequence[float], top: float, read: int) -> list[Stream]:
    """The last to be dropped runs next to what is kept, so that no two streams cross."""
    found = []
    bottom = top + sum(thick)
    for number, ((name, kind, num), height) in enumerate(zip(drops, thick, strict=True)):
        at = (number + 0.5) / len(drops) * BOX
        half = min(height, 0.8 * BOX / len(drops)) / 6 + 1.5  # the figure is about three times as wide as high
        upper, lower, turn = bottom - height, bottom, max(NODE, 0.58 * at - half)
        down, bend = lower + 0.25 * (BOX - lower), turn + 0.6 * (at - turn)
        path = (
            f"M{NODE} {upper:.1f}L{turn:.1f} {upper:.1f}C{bend:.1f} {upper:.1f} {at + half:.1f} {down:.1f} "
            f"{at + half:.1f} {BOX}L{at - half:.1f} {BOX}C{at - half:.1f} {down:.1f} "
            f"{bend - half:.1f} {lower:.1f} {turn:.1f} {lower:.1f}L{NODE} {lower:.1f}Z"
        )
        found.append(Stream(name, kind, num, num / read, path, round(at / BOX * 100, 2)))
        bottom -= height
    return found


def _sides(sides: Sequence[tuple[str, int]], kept_height: float, kept: int) -> list[Stream]:
    heights = _heights([num for _, num in sides], kept_height)
    begin, end = KEPT_AT + NODE, BOX - NODE
    middle = (begin + end) / 2
    found: list[Stream] = []
    out, into = 0.0, 0.0
    for (name, num), height in zip(sides, heights, strict=True):
        path = (
            f"M{begin} {out:.1f}C{middle} {out:.1f} {middle} {into:.1f} {end} {into:.1f}"
            f"L{end} {into + height:.1f}C{middle} {into + height:.1f} {middle} {out + height:.1f} "
            f"{begin} {out + height:.1f}Z"
        )
        at = (into + height / 2) / BOX * 100
        found.append(Stream(name, name, num, num / kept, path, at, (round(into, 1), round(height, 1))))
        out += height
        into += height + GAP
    labels = _apart([one.at for one in found])
    return [Stream(o.name, o.kind, o.num, o.share, o.path, at, o.node) for o, at in zip(found, labels, strict=True)]


def _apart(places: Sequence[float]) -> list[float]:
    """The places moved where they would overlap, first down, then up from the lower edge."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + _LABEL_GAP) if found else max(place, _LABEL_GAP / 2))
    limit = 100 - _LABEL_GAP / 2
    for number in reversed(range(len(found))):
        found[number] = min(found[number], limit)
        limit = found[number] - _LABEL_GAP
    return [round(place, 2) for place in found]
