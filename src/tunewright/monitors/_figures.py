"""What the monitors share: rates of a window beside those of the reference, with their tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tunewright.core import two_samples
from tunewright.core.monitoring import FEWEST, MOST_EXAMPLES, Figure, MonitorScene, Turn
from tunewright.core.statistics import wilson


def rose(name: str, scene: MonitorScene, holds: Callable[[str], bool], *, why: str) -> Figure | None:
    """As `rose_of_turns`, of answers whose text is known."""
    return rose_of_turns(name, scene, lambda turn: None if turn.answer is None else holds(turn.answer), why=why)


def rose_of_turns(name: str, scene: MonitorScene, holds: Callable[[Turn], bool | None], *, why: str) -> Figure | None:
    """The share of the traffic of which something holds, which should not rise above the reference's; None where it is
    known of no request. why: what an alarm says, with `{}` for the share.
    """
    told = [(turn.id, found) for turn in scene.turns if (found := holds(turn)) is not None]
    if not told:
        return None
    reference = [found for turn in scene.outputs if (found := holds(turn)) is not None]
    times, n = sum(found for _, found in told), len(told)
    share = wilson(times, n)
    had = float(np.mean(reference)) if len(reference) else None
    p = None
    if had is not None and min(n, len(reference)) >= FEWEST and (times or had):  # of nothing there is nothing to test
        p = two_samples.rise_p((sum(reference), len(reference)), (times, n))
    was = "" if had is None else f", {had:.1%} in the reference"
    return Figure(
        name=name,
        **share.plain(),
        n=n,
        reference=had,
        p=p,
        told=why.format(f"{share.value:.1%} of the traffic ({times:,} of {n:,}{was})"),
        examples=[one for one, found in told if found][:MOST_EXAMPLES],
    )


def above(name: str, times: int, n: int, bound: float | None, *, examples: Sequence[str] = (), **facts: Any) -> Figure:
    """A share that must not exceed a bound: its p is the exact binomial one of "it is the bound at most"."""
    from scipy.stats import binom

    share = wilson(times, n)
    return Figure(
        name=name,
        **share.plain(),
        n=n,
        bound=bound,
        p=None if bound is None else float(binom.sf(times - 1, n, bound)),
        examples=list(examples)[:MOST_EXAMPLES],
        **facts,
    )
