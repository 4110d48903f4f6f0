"""The learning rate at a step, as a factor of the peak: closed forms, so that a resumed run cannot drift."""

from __future__ import annotations

import math


def factor(schedule: str, step: int, *, total: int, warmup: float) -> float:
    """Factor of the peak rate at a step (from 1) of `total`; `warmup` is the share of steps in which it rises.

    cosine and linear fall to zero just after the last step (Loshchilov & Hutter 2016, arXiv 1608.03983, eq. 5, one
    cycle); slanted_triangular rises for a tenth of the steps and falls to 1/32 (Howard & Ruder 2018, arXiv
    1801.06146, eq. 3).
    """
    if schedule == "slanted_triangular":
        return slanted_triangular(step - 1, total)
    rising = math.ceil(warmup * total)
    if step <= rising:
        return step / (rising + 1)
    if schedule == "constant":
        return 1.0
    done = (step - 1 - rising) / max(1, total - rising)
    if schedule == "linear":
        return 1.0 - done
    assert schedule == "cosine", schedule
    return 0.5 * (1.0 + math.cos(math.pi * done))


def slanted_triangular(t: int, total: int, *, cut_share: float = 0.1, ratio: float = 32.0) -> float:
    """ULMFiT's schedule at iteration t from 0 of `total` (arXiv 1801.06146, eq. 3)."""
    cut = max(1, math.floor(total * cut_share))
    p = t / cut if t < cut else 1.0 - (t - cut) / (cut * (1.0 / cut_share - 1.0))
    return (1.0 + max(0.0, p) * (ratio - 1.0)) / ratio
