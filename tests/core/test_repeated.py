"""Figures of repeated answers equal what drawing k of them gives."""

from __future__ import annotations

from itertools import combinations

import pytest

from tunewright.core.repeated import all_k, pass_at_k


@pytest.mark.parametrize(("samples", "right", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (6, 6, 6), (4, 3, 2)])
def test_k_of_the_samples_are_drawn_without_bias(samples: int, right: int, k: int) -> None:
    drawn = list(combinations([place < right for place in range(samples)], k))
    assert pass_at_k(samples, right, k) == pytest.approx(sum(map(any, drawn)) / len(drawn))
    assert all_k(samples, right, k) == pytest.approx(sum(map(all, drawn)) / len(drawn))


def test_more_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="found 1 of 2, k 3"):
        pass_at_k(2, 1, 3)
