"""Figures of guards: how much a model lost against its base on the same items, and how two groups of rows differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tunewright.core.report import Finding, Measure
from tunewright.core.statistics import Interval, paired_bootstrap, rows_for_error, wilson
from tunewright.guards._paired import difference

RESAMPLES = 2_000


def lost_share(name: str, base: Sequence[bool], tuned: Sequence[bool], bound: float | None) -> Measure:
    """How much smaller the share of right items became, with the interval of `_paired.difference`."""
    found = difference(base, tuned)
    return Measure(
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(base),
        base=float(np.mean(base)),
        tuned=float(np.mean(tuned)),
        bound=bound,
    )


def risen_mean(
    name: str, base: np.ndarray, tuned: np.ndarray, counts: np.ndarray, bound: float | None, *, seed: int
) -> Measure:
    """How much higher a sum a count became, with a paired bootstrap interval over the items."""
    first, second = np.column_stack([tuned, counts]), np.column_stack([base, counts])
    found = paired_bootstrap(first, second, lambda total: total[..., 0] / total[..., 1], seed=seed)
    return Measure(
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(counts),
        base=float(base.sum() / counts.sum()),
        tuned=float(tuned.sum() / counts.sum()),
        bound=bound,
    )


def difference_of_shares(first: int, num_first: int, second: int, num_second: int) -> Interval:
    """The first share less the second, of different rows: the square-and-add interval of Newcombe (Statistics in
    Medicine 17, 1998, 873-890, method 10).
    """
    one, other = wilson(first, num_first), wilson(second, num_second)
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, max(-1.0, low), min(1.0, high))


def difference_of_means(
    first: np.ndarray, first_counts: np.ndarray, second: np.ndarray, second_counts: np.ndarray, *, seed: int
) -> Interval:
    """The first sum a count less the second, of different rows: percentile interval of a bootstrap that draws each
    group's rows apart (Efron and Tibshirani 1993, chapter 8).
    """
    generator = np.random.default_rng(seed)
    drawn = []
    for sums, counts in ((first, first_counts), (second, second_counts)):
        n = len(sums)
        times = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        drawn.append((times @ sums) / np.maximum(times @ counts, 1))
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return Interval(
        float(first.sum() / first_counts.sum() - second.sum() / second_counts.sum()), float(low), float(high)
    )


def too_few(measures: Sequence[Measure], remedy: str) -> list[Finding]:
    """For each measure whose bound lies inside its interval: how many items would tell, if the truth is what was
    measured.
    """
    found = []
    for one in measures:
        if one.state != "open" or one.low is None or one.high is None or one.bound is None or not one.n:
            continue
        need = rows_for_error(one.bound - one.value, (one.high - one.low) / 3.92, one.n)
        wanted = "More items will not tell" if need is None else f"About {need:,} items would tell"
        message = f"{one.name}: the bound {one.bound:g} lies inside the interval {one.low:.3f} to {one.high:.3f} of "
        message += f"{one.n:,} items. {wanted}."
        found.append(Finding(name="too_few_items", severity="warning", message=message, count=one.n, remedy=remedy))
    return found
