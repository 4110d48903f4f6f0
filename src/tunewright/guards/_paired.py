"""What the guards share: the same questions to the base and the tuned model, as one figure of change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tunewright.core import statistics
from tunewright.core.example import Example
from tunewright.core.guarding import Conversation
from tunewright.core.report import Finding, Measure

T = TypeVar("T")
MOST = 100_000  # rows that would settle what lies just on its bound: more than anybody brings


def difference(first: Sequence[float], second: Sequence[float]) -> statistics.Difference:
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


def missing(value: float, error: float, n: int, bound: float | None) -> int | None:
    """Rows beyond the n that are there that would tell a value with this standard error from its bound."""
    if bound is None:
        return None
    total = statistics.rows_for_error(value - bound, error, n)
    return MOST if total is None else max(1, min(MOST, total - n))


def unsettled(measures: Sequence[Measure], remedy: str) -> list[Finding]:
    """One finding for the figures of sets whose bound lies inside the interval: test rows do not sharpen those."""
    names = [one.name for one in measures if one.state == "open" and one.need is None]
    if not names:
        return []
    message = f"More test rows do not settle {'; '.join(names)}: the set asked is what it is."
    return [Finding(name="bound not settled", severity="warning", message=message, remedy=remedy)]


def change(name: str, base: Sequence[float], tuned: Sequence[float], bound: float | None) -> Measure:
    """How much more often the tuned model does what counts than the base, at most `bound`."""
    found = difference(tuned, base)
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


def drawn(rows: Sequence[T], most: int, seed: int) -> list[T]:
    """At most so many of the rows, in their order; which ones hangs on the seed alone."""
    if len(rows) <= most:
        return list(rows)
    return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), most))]


def asked(example: Example) -> Conversation:
    """What a test row asks, as a model is sent it."""
    return [message.for_template() for message in example.prompt]
