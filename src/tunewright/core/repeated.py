"""Several answers to one question: where they can be asked for, whether any of k would be right, and whether all of
k would.
"""

from __future__ import annotations

import math

ONCE = "pass@1"  # the mean grade itself


def problems(samples: int, temperature: float, *, free: bool) -> list[str]:
    """What is wrong with asking for so many answers to each row. free: whether answers are written token by token."""
    if samples > 1 and not free:
        return [
            "evaluate.samples: labels are weighed and heads compute, so their answers are the same each time. Leave "
            "samples out."
        ]
    if samples > 1 and temperature == 0:
        return [
            f"evaluate.samples: {samples} answers are all alike at temperature 0. Give evaluate.temperature (0.7, "
            "say), or leave samples out."
        ]
    return []


def ks(samples: int) -> list[int]:
    """1, the powers of two below the number of samples, and that number."""
    return [*(2**power for power in range(samples.bit_length()) if 2**power < samples), samples]


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
