"""How far raters agree beyond chance: Krippendorff's alpha and Cohen's kappa, with bootstrap intervals over units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["none", "linear", "quadratic"]
RESAMPLES = 2_000
Figure = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """1 is perfect, 0 what chance gives. n: units that count.

    None where it is undefined: nothing to compare, or one value everywhere. low, high: 95 % interval.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def krippendorff(ratings: Sequence[Sequence[float | None]], *, level: Level = "nominal", seed: int = 0) -> Agreement:
    """Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's alpha-reliability") for any number of raters.

    ratings: what each unit was given, None where a rater left it out; units with fewer than two do not count. level:
    whether values are names, ranks, or numbers whose distance counts.
    """
    given = [[value for value in unit if value is not None] for unit in ratings]
    given = [unit for unit in given if len(unit) >= 2]
    values = sorted({value for unit in given for value in unit})
    if not given:
        return Agreement(None, None, None, 0)
    place = {value: number for number, value in enumerate(values)}
    size = len(values)
    tally = np.zeros((len(given), size, size))
    for row, unit in enumerate(given):
        counts = np.bincount([place[value] for value in unit], minlength=size).astype(float)
        tally[row] = (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    numbers = np.array(values, dtype=float)
    return _bootstrapped(tally, lambda totals: _alpha(totals, numbers, level), seed)


def cohen(first: Sequence[Any], second: Sequence[Any], *, weights: Weights = "none", seed: int = 0) -> Agreement:
    """Cohen's kappa of two raters of the same units (Cohen 1960); weighted by how far apart values are (Cohen 1968).

    Weighted, values are taken in their sorted order, one step apart.
    """
    values = sorted({*first, *second})
    place = {value: number for number, value in enumerate(values)}
    size = len(values)
    tally = np.zeros((len(first), size, size))
    for row, (one, other) in enumerate(zip(first, second, strict=True)):
        tally[row, place[one], place[other]] = 1
    steps = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(float)
    apart = {"none": (steps > 0).astype(float), "linear": steps, "quadratic": steps**2}[weights]
    return _bootstrapped(tally, lambda totals: _kappa(totals, apart), seed)


def _alpha(totals: np.ndarray, values: np.ndarray, level: Level) -> np.ndarray:
    """totals: coincidences [..., V, V]. One minus observed over expected disagreement; nan where none is expected."""
    counts = totals.sum(axis=-1)
    all_of_them = counts.sum(axis=-1)[..., None, None]
    if level == "nominal":
        apart = np.broadcast_to(1 - np.eye(len(values)), totals.shape)
    elif level == "interval":
        apart = np.broadcast_to(np.subtract.outer(values, values) ** 2, totals.shape)
    else:  # the distance of two ranks is how many values lie between their middles
        middle = np.cumsum(counts, axis=-1) - counts / 2
        apart = (middle[..., :, None] - middle[..., None, :]) ** 2
    expected = counts[..., :, None] * counts[..., None, :] / np.maximum(all_of_them - 1, 1)
    return _beyond_chance((totals * apart).sum(axis=(-2, -1)), (expected * apart).sum(axis=(-2, -1)))


def _kappa(totals: np.ndarray, apart: np.ndarray) -> np.ndarray:
    rows, columns = totals.sum(axis=-1), totals.sum(axis=-2)
    expected = rows[..., :, None] * columns[..., None, :] / totals.sum(axis=(-2, -1))[..., None, None]
    return _beyond_chance((totals * apart).sum(axis=(-2, -1)), (expected * apart).sum(axis=(-2, -1)))


def _beyond_chance(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def _bootstrapped(tally: np.ndarray, figure: Figure, seed: int) -> Agreement:
    """The figure of all units, and the percentile interval over resampled units. tally: [units, V, V]."""
    n = len(tally)
    value = float(figure(tally.sum(axis=0)))
    if np.isnan(value):
        return Agreement(None, None, None, n)
    if n < 2:
        return Agreement(value, None, None, n)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    drawn = figure((times @ tally.reshape(n, -1)).reshape(RESAMPLES, *tally.shape[1:]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Agreement(value, float(min(low, value)), float(max(high, value)), n)
