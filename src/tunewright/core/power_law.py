"""The power law with offset that errors follow as rows grow: fitted to measured points, with intervals, back-tested.

error(n) = offset + scale * n ** -exponent (Hestness et al. 2017, arXiv 1712.00409, section 2; Rosenfeld et al. 2020,
arXiv 1909.12673, equation 1). Intervals by profile likelihood (Venzon and Moolgavkar 1988). Pure functions of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LEAST_EXPONENT, LARGEST_EXPONENT = 0.02, 2.0
CONFIDENCE = 0.8
SURE = 0.99
FARTHEST = 64  # times the largest size: beyond it no number of rows is told
_EXPONENTS = np.geomspace(LEAST_EXPONENT, LARGEST_EXPONENT, 81)
_NARROWINGS = 24
_HALVINGS = 22
_GOLDEN = (math.sqrt(5) - 1) / 2
_GRID = 101  # values at which a profile is first looked at


@dataclass(frozen=True)
class PowerLaw:
    """offset: the error that no number of rows removes; scale and exponent >= 0."""

    offset: float
    scale: float
    exponent: float

    def error(self, num_rows: float) -> float:
        """The error after learning from so many rows."""
        return float(self.offset + self.scale * num_rows**-self.exponent)

    def rows_for(self, error: float) -> float:
        """How many rows bring the error down to this; infinite where none do."""
        if error <= self.offset or self.scale <= 0:
            return 1.0 if self.error(1) <= error else math.inf
        exponent = math.log(self.scale / (error - self.offset)) / self.exponent
        return max(1.0, math.exp(exponent)) if exponent < 500 else math.inf


@dataclass(frozen=True)
class Range:
    """A value and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fitted:
    """The law that fits trainings best. sizes [K]: rows each learned from; errors [K]; covariance [K, K] of the errors'
    noise, as large as the points show; misfit: the sum of squared residuals in units of the noise that was told, which
    is chi-squared with K - 3 degrees where the law holds.
    """

    law: PowerLaw
    sizes: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray
    misfit: float

    @property
    def largest(self) -> int:
        """The most rows that were learned from."""
        return int(self.sizes.max())

    @cached_property
    def _white(self) -> _White:
        return _White(self.sizes, self.covariance)

    def gain(self, before: float, after: float, *, confidence: float = CONFIDENCE) -> Range:
        """How much the error falls between two numbers of rows."""

        def misfit(gains: np.ndarray) -> np.ndarray:
            return self._white.misfit_of_gain(self.errors, gains, before / self.largest, after / self.largest)

        return _profiled(misfit, self.law.error(before) - self.law.error(after), confidence)

    def error(self, num_rows: float, *, confidence: float = CONFIDENCE) -> Range:
        """The error after learning from so many rows: of the law, without the noise of a single measurement."""

        def misfit(values: np.ndarray) -> np.ndarray:
            return self._white.misfit_of_error(self.errors, values, num_rows / self.largest)

        return _profiled(misfit, self.law.error(num_rows), confidence)

    def rows_for(self, error: float, *, confidence: float = CONFIDENCE) -> Range:
        """How many rows bring the error down to this; an end beyond 64 times the largest size is infinite."""
        tried = np.geomspace(1 / 64, FARTHEST, 193)
        least = self._white.least(self.errors)
        goal = np.array([error])
        misfits = np.array([float(self._white.misfit_of_error(self.errors, goal, t)[0]) for t in tried])
        inside = np.flatnonzero(misfits - least <= _threshold(confidence))
        value = self.law.rows_for(error)
        value = value if value <= FARTHEST * self.largest else math.inf
        if not len(inside):
            return Range(value, value, value)
        low = float(tried[inside[0]]) * self.largest
        high = float(tried[inside[-1]]) * self.largest if inside[-1] < len(tried) - 1 else math.inf
        return Range(value, min(low, value), max(high, value))


@dataclass(frozen=True)
class BackTest:
    """The mean error at the largest size as the smaller ones foretell it (80 % and 99 % intervals, with the noise of
    the measurement), against what was measured.
    """

    num_rows: int
    foretold: Range
    surely: Range
    measured: float

    @property
    def off(self) -> float:
        """How far the measured error lies from the foretold one, in half-widths of its 80 % interval."""
        told = self.foretold
        side = told.high - told.value if self.measured > told.value else told.value - told.low
        return abs(self.measured - told.value) / max(side, 1e-12)

    @property
    def contradicts(self) -> bool:
        """Whether the measured error lies outside even the 99 % interval."""
        return not self.surely.low <= self.measured <= self.surely.high


def fit(sizes: np.ndarray, errors: np.ndarray, covariance: np.ndarray) -> Fitted:
    """Generalised least squares under offset >= 0, scale >= 0 and 0 < exponent <= 2. Needs three different sizes.

    Where the points scatter more than their noise says, the noise is raised to what they show (Birge 1932).
    """
    sizes, errors = np.asarray(sizes, float), np.asarray(errors, float)
    law, misfit = _White(sizes, covariance).best(errors)
    freedom = len(sizes) - 3
    shown = max(1.0, misfit / freedom) if freedom > 0 else 1.0
    return Fitted(law, sizes, errors, shown * np.asarray(covariance, float), misfit)


def back_test(sizes: np.ndarray, errors: np.ndarray, covariance: np.ndarray) -> BackTest:
    """Fit without the largest size and foretell it."""
    sizes, errors = np.asarray(sizes, float), np.asarray(errors, float)
    last = sizes == sizes.max()
    known = fit(sizes[~last], errors[~last], covariance[np.ix_(~last, ~last)])
    white, measured = _White(sizes, covariance), float(errors[last].mean())

    def misfit(means: np.ndarray) -> np.ndarray:
        return np.array([white.least(errors + last * (mean - measured)) for mean in means])

    foretold, reach = known.law.error(sizes.max()), 0.2  # shared noise moves it a little from the law's own value
    for _ in range(2):
        tried = np.linspace(1 - reach, 1 + reach, 41) * foretold
        foretold, reach = float(tried[misfit(tried).argmin()]), reach / 20
    ends = [_profiled(misfit, foretold, confidence, grid=41) for confidence in (CONFIDENCE, SURE)]
    return BackTest(int(sizes.max()), ends[0], ends[1], measured)


def _threshold(confidence: float) -> float:
    """How much more misfit than the least is still inside the interval."""
    from scipy.special import chdtri

    return float(chdtri(1, 1 - confidence))


def _profiled(
    misfit: Callable[[np.ndarray], np.ndarray], value: float, confidence: float, *, grid: int = _GRID
) -> Range:
    """The values between 0 and 1 around the best one whose misfit is within the threshold of the least."""
    tried = np.unique(np.append(np.linspace(0, 1, grid), value))
    found = misfit(tried)
    least = float(found.min())
    bound = least + _threshold(confidence)

    def edge(inside: float, outside: float) -> float:
        if float(misfit(np.array([outside]))[0]) <= bound:
            return outside
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if float(misfit(np.array([middle]))[0]) <= bound else (inside, middle)
        return inside

    centre = value if float(misfit(np.array([value]))[0]) <= bound else float(tried[found.argmin()])
    return Range(value, min(value, edge(centre, 0.0)), max(value, edge(centre, 1.0)))


class _White:
    """Least squares with the noise made alike and independent; the scale is the error above the offset at the largest
    size. C: exponents of a grid; K: trainings; G: values tried.
    """

    def __init__(self, sizes: np.ndarray, covariance: np.ndarray) -> None:
        # a sliver on the diagonal: trainings that err on the same rows have a covariance without an inverse
        regular = covariance + max(1e-12, 1e-3 * float(np.diag(covariance).mean())) * np.eye(len(sizes))
        self.root = np.linalg.inv(np.linalg.cholesky(regular))
        self.logs, self.largest = np.log(sizes / sizes.max()), float(sizes.max())
        self.ones_K = self.root @ np.ones(len(sizes))
        self.bent_CK = np.exp(-_EXPONENTS[:, None] * self.logs) @ self.root.T

    def best(self, errors: np.ndarray) -> tuple[PowerLaw, float]:
        """The law with the least misfit: a grid over the exponent, then a golden section."""
        seen = self.root @ errors

        def at(exponent: float) -> tuple[float, float, float]:
            bent = self.root @ np.exp(-exponent * self.logs)
            offset, scale, misfit = _linear(self.ones_K, bent[None], seen)
            return float(offset[0]), float(scale[0]), float(misfit[0])

        near = int(_linear(self.ones_K, self.bent_CK, seen)[2].argmin())
        low, high = np.log(_EXPONENTS[max(near - 1, 0)]), np.log(_EXPONENTS[min(near + 1, len(_EXPONENTS) - 1)])
        for _ in range(_NARROWINGS):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            low, high = (low, right) if at(math.exp(left))[2] <= at(math.exp(right))[2] else (left, high)
        exponent = math.exp((low + high) / 2)
        offset, scale, misfit = at(exponent)
        return PowerLaw(offset, scale * self.largest**exponent, exponent), misfit

    def least(self, errors: np.ndarray) -> float:
        """The least misfit over the grid of exponents."""
        return float(_linear(self.ones_K, self.bent_CK, self.root @ errors)[2].min())

    def misfit_of_gain(self, errors: np.ndarray, gains_G: np.ndarray, before: float, after: float) -> np.ndarray:
        """The least misfit of laws with these gains between two sizes, given in units of the largest."""
        per_scale_C = before**-_EXPONENTS - after**-_EXPONENTS
        fixed_CGK = self.bent_CK[:, None] * (gains_G / per_scale_C[:, None])[..., None]
        rest_CGK = self.root @ errors - fixed_CGK
        offset_CG = np.maximum(rest_CGK @ self.ones_K / (self.ones_K @ self.ones_K), 0)
        misfits: np.ndarray = ((rest_CGK - offset_CG[..., None] * self.ones_K) ** 2).sum(axis=-1).min(axis=0)
        return misfits

    def misfit_of_error(self, errors: np.ndarray, values_G: np.ndarray, size: float) -> np.ndarray:
        """The least misfit of laws with these errors at a size, given in units of the largest."""
        there_C = size**-_EXPONENTS
        slope_CK = self.bent_CK - there_C[:, None] * self.ones_K  # what the scale does when the error is held
        rest_GK = self.root @ errors - values_G[:, None] * self.ones_K
        square_C = np.maximum((slope_CK**2).sum(axis=1), 1e-300)
        scale_CG = np.clip(slope_CK @ rest_GK.T / square_C[:, None], 0, values_G / there_C[:, None])
        left_CGK = rest_GK - scale_CG[..., None] * slope_CK[:, None]
        misfits: np.ndarray = (left_CGK**2).sum(axis=-1).min(axis=0)
        return misfits


def _linear(ones_K: np.ndarray, bent_CK: np.ndarray, seen_K: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset, scale >= 0 and misfit for each exponent: inside where both are positive, else on one of the edges."""
    oo, ob, bb = ones_K @ ones_K, bent_CK @ ones_K, (bent_CK**2).sum(axis=1)
    os, bs = np.full(len(bent_CK), ones_K @ seen_K), bent_CK @ seen_K
    determinant = np.maximum(oo * bb - ob**2, 1e-300)
    none = np.zeros(len(bent_CK))
    offsets = np.stack([(bb * os - ob * bs) / determinant, none, np.maximum(os / oo, 0)])
    scales = np.stack([(oo * bs - ob * os) / determinant, np.maximum(bs / bb, 0), none])
    left = seen_K - offsets[..., None] * ones_K - scales[..., None] * bent_CK
    misfits = (left**2).sum(axis=-1)
    misfits[0][(offsets[0] < 0) | (scales[0] < 0)] = np.inf
    pick, row = misfits.argmin(axis=0), np.arange(len(bent_CK))
    return offsets[pick, row], scales[pick, row], misfits[pick, row]
