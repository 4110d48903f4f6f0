"""What the guards share: how models differ on the same items, how groups of rows differ, and which rows are asked."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tunewright.core import statistics
from tunewright.core.example import Example
from tunewright.core.guarding import Conversation
from tunewright.core.report import UNSETTLED, Finding, Measure
from tunewright.core.statistics import MOST_ROWS, Difference, Interval

T = TypeVar("T")
RESAMPLES = 2_000
TWO_SIDES = 3.92  # standard errors across a 95 % interval


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Mean of the first less that of the second over the same rows: Newcombe's interval and McNemar's p where all are
    0 or 1, else the paired bootstrap.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    if np.isin(np.concatenate([one, other]), (0, 1)).all():
        wins, losses = int(((one == 1) & (other == 0)).sum()), int(((one == 0) & (other == 1)).sum())
        both = int(((one == 1) & (other == 1)).sum())
        return statistics.paired_shares(both, wins, losses, len(one) - both - wins - losses)
    ones = np.ones(len(one))
    return statistics.paired_bootstrap(
        np.stack([one, ones], 1), np.stack([other, ones], 1), lambda totals: totals[..., 0] / totals[..., 1]
    )


def change(name: str, base: Sequence[float], tuned: Sequence[float], bound: float | None) -> Measure:
    """How much more often the tuned model does what counts than the base, at most `bound`."""
    return _of(name, difference(tuned, base), base, tuned, bound)


def lost_share(name: str, base: Sequence[float], tuned: Sequence[float], bound: float | None) -> Measure:
    """How much smaller the share of right items became."""
    return _of(name, difference(base, tuned), base, tuned, bound)


def _of(name: str, found: Difference, base: Sequence[float], tuned: Sequence[float], bound: float | None) -> Measure:
    return _changed(name, found, len(base), float(np.mean(base)), float(np.mean(tuned)), bound)


def _changed(name: str, found: Difference, n: int, base: float, tuned: float, bound: float | None) -> Measure:
    """A change with the two figures that it is between."""
    return Measure(name=name, **found.plain(), n=n, base=base, tuned=tuned, bound=bound)


def risen_mean(
    name: str, base: np.ndarray, tuned: np.ndarray, counts: np.ndarray, bound: float | None, *, seed: int
) -> Measure:
    """How much higher a sum a count became, with a paired bootstrap interval over the items."""
    first, second = np.column_stack([tuned, counts]), np.column_stack([base, counts])
    found = statistics.paired_bootstrap(first, second, lambda total: total[..., 0] / total[..., 1], seed=seed)
    num = counts.sum()
    return _changed(name, found, len(counts), float(base.sum() / num), float(tuned.sum() / num), bound)


def difference_of_shares(first: int, num_first: int, second: int, num_second: int) -> Interval:
    """The first share less the second, of different rows: the square-and-add interval of Newcombe (Statistics in
    Medicine 17, 1998, 873-890, method 10).
    """
    one, other = statistics.wilson(first, num_first), statistics.wilson(second, num_second)
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


def missing(value: float, error: float, n: int, bound: float | None) -> int | None:
    """Rows beyond the n that are there that would tell a value with this standard error from its bound."""
    if bound is None:
        return None
    total = statistics.rows_for_error(value - bound, error, n)
    return MOST_ROWS if total is None else max(1, min(MOST_ROWS, total - n))


def unsettled(measures: Sequence[Measure], remedy: str) -> list[Finding]:
    """A finding for each figure whose bound lies inside its interval and that test rows alone do not sharpen: how many
    items would tell, if the truth is what was measured. remedy: what brings them; the verdict repeats it.
    """
    found = []
    for one in measures:
        if one.state != "open" or one.need is not None or one.low is None or one.high is None or one.bound is None:
            continue
        n = one.n or 0
        items = statistics.rows_for_error(one.bound - one.value, (one.high - one.low) / TWO_SIDES, n)
        wanted = f"About {items:,} items would tell" if items and items < MOST_ROWS else "More items will not tell"
        message = f"{one.name}: the bound {one.bound:g} lies inside the interval {one.low:.3f} to {one.high:.3f} of "
        message += f"{n:,} items. {wanted}; more test rows alone do not."
        found.append(Finding(name=UNSETTLED, severity="warning", message=message, count=n, remedy=remedy))
    return found


def drawn(rows: Sequence[T], most: int, seed: int) -> list[T]:
    """At most so many of the rows, in their order; which ones hangs on the seed alone."""
    if len(rows) <= most:
        return list(rows)
    return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), most))]


def asked(example: Example) -> Conversation:
    """What a test row asks, as a model is sent it."""
    return [message.for_template() for message in example.prompt]
