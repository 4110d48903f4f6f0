"""What several answers to one question tell: whether any of k would be right, and whether all of k would."""

from __future__ import annotations

import math


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that at least one of k answers is right, without bias from `samples` answers of which `right` are:
    1 - C(samples - right, k) / C(samples, k) (Chen et al. 2021, arXiv:2107.03374, equation 1).
    """
    _check(samples, right, k)
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def all_k(samples: int, right: int, k: int) -> float:
    """The chance that all of k answers are right, without bias: C(right, k) / C(samples, k) (Yao et al. 2024,
    arXiv:2406.12045, section 3).
    """
    _check(samples, right, k)
    return math.comb(right, k) / math.comb(samples, k)


def _check(samples: int, right: int, k: int) -> None:
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(f"Needs 1 <= k <= samples and 0 <= right <= samples, found {right} of {samples}, k {k}.")
