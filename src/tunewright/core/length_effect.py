"""How much the length of answers moves who wins, and what would be left of it between answers of one length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunewright.core.statistics import Interval, normal_quantile

_RIDGE = 1e-2  # keeps the slope finite where length alone tells who wins; worth a hundredth of a row or so
_FEWEST = 8


@dataclass(frozen=True)
class LengthEffect:
    """slope: log-odds of a win for one standard deviation more of length; p: of "length does not count".

    controlled: the win rate at equal length.
    """

    slope: Interval
    p: float
    controlled: Interval
    more: float  # the mean difference in length, in characters


def length_effect(wins: Sequence[float], differences: Sequence[float]) -> LengthEffect | None:
    """Logistic regression of winning (1, a tie 0.5, 0) on the difference in length, as `tanh(difference / its spread)`.

    The length-controlled win rate of Dubois et al. 2024 (arXiv 2404.04475), without their term for a question's
    difficulty. Intervals are Wald's at 95 %, the win rate's through the log-odds; p is of the likelihood ratio, which
    stays sharp where length alone tells who wins and Wald's does not (Hauck and Donner 1977). None where fewer than
    eight rows differ in length: nothing can be told then.
    """
    from scipy.special import chdtrc

    won, gap = np.asarray(wins, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    spread = float(gap.std())
    if np.count_nonzero(gap) < _FEWEST or spread == 0:
        return None
    rows = np.stack([np.ones(len(gap)), np.tanh(gap / spread)], axis=1)
    ridge = np.diag([1e-6, _RIDGE])
    weights = np.zeros(2)
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        curve = rows.T @ (rows * (chance * (1 - chance))[:, None]) + ridge
        step = np.linalg.solve(curve, rows.T @ (won - chance) - ridge @ weights)
        weights += step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
    errors = np.sqrt(np.diag(np.linalg.inv(rows.T @ (rows * (chance * (1 - chance))[:, None]) + ridge)))
    reach = normal_quantile(0.975) * errors
    edges = [_share(float(weights[0] + side * reach[0])) for side in (-1, 0, 1)]
    flat = np.full(len(won), won.mean())
    ratio = 2 * (_likelihood(won, chance) - _likelihood(won, flat))
    slope = Interval(float(weights[1]), float(weights[1] - reach[1]), float(weights[1] + reach[1]))
    return LengthEffect(
        slope, float(chdtrc(1, max(ratio, 0.0))), Interval(edges[1], edges[0], edges[2]), float(gap.mean())
    )


def _likelihood(won: np.ndarray, chance: np.ndarray) -> float:
    """Of Bernoulli outcomes, in nats."""
    kept = np.clip(chance, 1e-12, 1 - 1e-12)
    return float((won * np.log(kept) + (1 - won) * np.log(1 - kept)).sum())


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(log_odds, -30.0), 30.0)))
