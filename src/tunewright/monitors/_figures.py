"""What the monitors share: rates of a window beside those of the reference, with their tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunewright.core import two_samples
from tunewright.core.monitoring import FEWEST, MOST_EXAMPLES, Figure, MonitorScene
from tunewright.core.statistics import wilson


def rose(
    name: str, scene: MonitorScene, ids: Sequence[str], window: Sequence[bool], reference: Sequence[bool], *, why: str
) -> Figure:
    """A share of the traffic that should not rise above the reference's. why: what an alarm says, with `{}` for it."""
    times, n = sum(window), len(window)
    share = wilson(times, n)
    had = float(np.mean(reference)) if len(reference) else None
    p = None
    if had is not None and min(n, len(reference)) >= FEWEST and (times or had):  # of nothing there is nothing to test
        p = two_samples.rise_p((sum(reference), len(reference)), (times, n))
    was = "" if had is None else f", {had:.1%} in the reference"
    return Figure(
        name=name,
        value=share.value,
        low=share.low,
        high=share.high,
        n=n,
        reference=had,
        p=p,
        told=why.format(f"{share.value:.1%} of the traffic ({times:,} of {n:,}{was})"),
        examples=[one for one, is_so in zip(ids, window, strict=True) if is_so][:MOST_EXAMPLES],
    )


def above(name: str, times: int, n: int, bound: float | None, *, told: str, examples: Sequence[str] = ()) -> Figure:
    """A share that must not exceed a bound: its p is the exact binomial one of "it is the bound at most"."""
    from scipy.stats import binom

    share = wilson(times, n)
    return Figure(
        name=name,
        value=share.value,
        low=share.low,
        high=share.high,
        n=n,
        bound=bound,
        p=None if bound is None else float(binom.sf(times - 1, n, bound)),
        told=told,
        examples=list(examples)[:MOST_EXAMPLES],
    )
