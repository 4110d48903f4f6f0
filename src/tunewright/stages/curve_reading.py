"""What the trainings of a learning curve tell: the law, what twice the rows would give, or why that cannot be told."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunewright.core import power_law, statistics
from tunewright.core.choosing import LEAST_POINTS
from tunewright.core.power_law import BackTest, Fitted, Range
from tunewright.stages.curve_trainings import Trained

LEAST_GRADED = 100  # validation rows
NOISE_LEVEL = 0.01  # chance with which noise alone may look as if the law did not hold
SLOPE_LEVEL = 0.05  # chance with which noise alone may look like a slope
FINE = 0.01  # an interval not wider than this is told, however small the gain
BAND_SIZES = 33


@dataclass(frozen=True)
class Noise:
    """Errors of trainings and the covariance of their noise."""

    sizes: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray

    def mean_of(self, which: np.ndarray, against: np.ndarray) -> tuple[float, float]:
        """The difference of two groups' mean errors, and its standard error."""
        weights = which / which.sum() - against / against.sum()
        return float(weights @ self.errors), math.sqrt(max(float(weights @ self.covariance @ weights), 1e-12))


def measured(trained: Sequence[Trained]) -> Noise:
    """The errors (1 - grade), and how they vary: with the rows that grade (jointly), and from draw to draw, by which
    rows were learned from: that noise falls with their number, as the variance of a mean does.
    """
    sheets = [one.sheet for one in trained]
    grader = sheets[0].grader
    errors = np.array([1 - float(grader.value(sheet.tally.sum(axis=0))) for sheet in sheets])
    covariance = statistics.joint_covariance([sheet.tally for sheet in sheets], grader.value)
    groups = [(one.part.size, one.part.without) for one in trained]
    excess = []
    for first in range(len(groups)):
        for second in range(first):
            if groups[first] == groups[second]:
                rows = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
                excess.append(((errors[first] - errors[second]) ** 2 - rows) * groups[first][0])
    own = max(0.0, float(np.mean(excess)) / 2) if excess else 0.0
    sizes = np.array([one.part.size for one in trained], float)
    return Noise(sizes, errors, covariance + np.diag(own / sizes))


def told(trained: Sequence[Trained], *, num_rows: int, goal: float | None) -> dict[str, Any]:
    """Figures of the curve for a report. goal: the grade to reach. num_rows: all training rows."""
    curve = [one for one in trained if not one.part.without]
    sheet = trained[0].sheet
    found: dict[str, Any] = {
        "grader": sheet.grader.label,
        "rows": num_rows,
        "validation_rows": len(sheet.rows),
        "points": _points(curve),
        "law": None,
        "back_test": None,
        "gain": None,
        "goal": None,
        "band": [],
        "refused": [],
        "cleaning": None,
    }
    noise = measured(curve)
    found["refused"] = _too_little(noise, len(sheet.rows))
    if found["refused"]:
        return found | {"sentence": _refusal(found)}
    fitted = power_law.fit(noise.sizes, noise.errors, noise.covariance)
    tested = power_law.back_test(noise.sizes, noise.errors, noise.covariance)
    widened = max(1.0, tested.off)
    gain = _widened(fitted.gain(num_rows, 2 * num_rows), widened)
    found["law"] = {"offset": fitted.law.offset, "scale": fitted.law.scale, "exponent": fitted.law.exponent}
    found["back_test"] = _back_tested(tested)
    found["band"] = _band(fitted, widened)
    found["refused"] = _contradicted(noise, fitted, tested) or _too_wide(gain)
    if not found["refused"]:
        found["gain"] = {"rows": 2 * num_rows, **_figures(gain)}
        found["goal"] = _reached(fitted, goal, num_rows)
    if any(one.part.without for one in trained):
        found["cleaning"] = _cleaned(trained, fitted, num_rows, trusted=not found["refused"])
    return found | {"sentence": _refusal(found) if found["refused"] else _sentence(found)}


# --- when it cannot be told ---


def _too_little(noise: Noise, num_graded: int) -> list[str]:
    found = []
    num_sizes = len(np.unique(noise.sizes))
    if num_sizes < LEAST_POINTS:
        found.append(f"{num_sizes} sizes of training sets are too few for a law of three numbers ({LEAST_POINTS})")
    if num_graded < LEAST_GRADED:
        found.append(f"{num_graded} validation rows grade too coarsely (at least {LEAST_GRADED})")
    return found


def _contradicted(noise: Noise, fitted: Fitted, tested: BackTest) -> list[str]:
    from scipy.special import chdtrc

    found = []
    sizes = np.unique(noise.sizes)
    for smaller, larger in itertools.pairwise(sizes.tolist()):
        rise, error = noise.mean_of((noise.sizes == larger) * 1.0, (noise.sizes == smaller) * 1.0)
        if rise > statistics.normal_quantile(1 - NOISE_LEVEL / len(sizes)) * error:
            found.append(f"{larger:,.0f} rows did worse than {smaller:,.0f} by more than noise ({rise:.3f})")
    fall, error = noise.mean_of((noise.sizes == sizes[0]) * 1.0, (noise.sizes == sizes[-1]) * 1.0)
    if fall < statistics.normal_quantile(1 - SLOPE_LEVEL) * error:
        found.append(
            f"from {sizes[0]:,.0f} to {sizes[-1]:,.0f} rows the grade did not rise by more than noise ({fall:+.3f}), "
            "so there is no slope to follow"
        )
    if tested.contradicts:
        told = tested.foretold
        found.append(
            f"the smaller sizes foretell {1 - told.value:.3f} ({1 - told.high:.3f} to {1 - told.low:.3f}) for "
            f"{tested.num_rows:,} rows, and {1 - tested.measured:.3f} came"
        )
    if not found and float(chdtrc(len(noise.sizes) - 3, fitted.misfit)) < NOISE_LEVEL:
        found.append("the points lie farther from every power law than noise explains")
    return found


def _too_wide(gain: Range) -> list[str]:
    width = gain.high - gain.low
    if width <= max(gain.value, FINE):
        return []
    return [f"the 80 % interval of the gain, {gain.low:+.3f} to {gain.high:+.3f}, is wider than the gain"]


def _refusal(found: dict[str, Any]) -> str:
    return f"What more rows would give cannot be told from these trainings: {'; '.join(found['refused'])}."


# --- what is told ---


def _points(curve: Sequence[Trained]) -> list[dict[str, Any]]:
    """For each size the mean grade and its 95 % interval over the rows that grade."""
    found = []
    for size in sorted({one.part.size for one in curve}):
        sheets = [one.sheet for one in curve if one.part.size == size]
        value = sheets[0].grader.value
        grades = [float(value(sheet.tally.sum(axis=0))) for sheet in sheets]
        tally = np.mean([sheet.tally for sheet in sheets], axis=0)
        interval = statistics.bootstrap(tally, value, resamples=1000)
        mean = float(np.mean(grades))
        ends = {"low": round(min(interval.low, mean), 6), "high": round(max(interval.high, mean), 6)}
        found.append({"rows": size, "value": round(mean, 6), **ends, "draws": [round(one, 6) for one in grades]})
    return found


def _sentence(found: dict[str, Any]) -> str:
    gain, goal = found["gain"], found["goal"]
    told = (
        f"Twice the data ({gain['rows']:,} rows) would give {gain['value']:+.3f} {found['grader']} "
        f"(80 % interval {gain['low']:+.3f} to {gain['high']:+.3f})."
    )
    if goal is None:
        return told
    if goal["rows"] is None:
        return f"{told} No number of rows that can be told from here reaches {goal['value']:g}."
    if goal["rows"] <= found["rows"]:
        return f"{told} {goal['value']:g} is reached with the rows that are there."
    most = f"{goal['high']:,}" if goal["high"] is not None else f"more than {power_law.FARTHEST * found['rows']:,}"
    return f"{told} To reach {goal['value']:g}, about {goal['rows']:,} rows (80 % interval {goal['low']:,} to {most})."


def _widened(told: Range, times: float) -> Range:
    low = max(0.0, told.value - times * (told.value - told.low))
    return Range(told.value, low, told.value + times * (told.high - told.value))


def _figures(told: Range) -> dict[str, float]:
    return {"value": round(told.value, 6), "low": round(told.low, 6), "high": round(told.high, 6)}


def _grade(error: Range) -> dict[str, float]:
    return _figures(Range(1 - error.value, max(0.0, 1 - error.high), min(1.0, 1 - error.low)))


def _back_tested(tested: BackTest) -> dict[str, Any]:
    return {
        "rows": tested.num_rows,
        "foretold": _grade(tested.foretold),
        "measured": round(1 - tested.measured, 6),
        "off": round(tested.off, 3),
        "widened": round(max(1.0, tested.off), 3),
    }


def _band(fitted: Fitted, widened: float) -> list[dict[str, float]]:
    """The law with its 80 % interval, from the smallest size to twice the largest; for the picture."""
    found = []
    for num_rows in np.geomspace(float(fitted.sizes.min()), 2.0 * fitted.largest, BAND_SIZES).tolist():
        error = fitted.error(num_rows)
        wide = widened if num_rows > fitted.largest else 1.0
        low, high = (error.value + wide * (end - error.value) for end in (error.low, error.high))
        found.append({"rows": round(num_rows, 3), **_grade(Range(error.value, max(0.0, low), min(1.0, high)))})
    return found


def _reached(fitted: Fitted, goal: float | None, num_rows: int) -> dict[str, Any] | None:
    if goal is None:
        return None
    needed = fitted.rows_for(1 - goal)
    rows = {
        key: _round_rows(getattr(needed, name)) for key, name in (("rows", "value"), ("low", "low"), ("high", "high"))
    }
    return {"value": goal, **rows}


def _round_rows(rows: float) -> int | None:
    """To two digits, since no more is known; None for more than can be told."""
    return None if math.isinf(rows) else int(float(f"{rows:.2g}"))


# --- cleaning against adding ---


def _cleaned(trained: Sequence[Trained], fitted: Fitted, num_rows: int, *, trusted: bool) -> dict[str, Any]:
    """What leaving rows out gives on the same validation rows, and how many more rows would give as much."""
    noise = measured(trained)
    cleaned = np.array([one.part.without for one in trained], float)
    whole = np.array([one.part.size == num_rows and not one.part.without for one in trained], float)
    rise, error = noise.mean_of(cleaned, whole)
    half = statistics.normal_quantile(0.5 + power_law.CONFIDENCE / 2) * error
    left_out = num_rows - int(noise.sizes[cleaned > 0].min())
    found: dict[str, Any] = {"left_out": left_out, **_figures(Range(-rise, -rise - half, -rise + half)), "worth": None}
    told = (
        f"Leaving out {left_out:,} rows ({left_out / num_rows:.1%}) gives {-rise:+.3f} "
        f"(80 % interval {-rise - half:+.3f} to {-rise + half:+.3f})"
    )
    if -rise - half <= 0 <= -rise + half:
        return found | {"sentence": f"{told}: no difference that can be told from noise."}
    if rise > 0 or not trusted:
        return found | {"sentence": f"{told}."}
    more = fitted.law.rows_for(fitted.law.error(num_rows) + rise) - num_rows
    far = math.isinf(more) or more > power_law.FARTHEST * num_rows
    found["worth"] = None if far else _round_rows(more)
    as_much = (
        "more than any number of rows that can be told" if far else f"as much as about {found['worth']:,} more rows"
    )
    return found | {"sentence": f"{told}, {as_much}."}
