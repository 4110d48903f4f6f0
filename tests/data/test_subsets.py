"""Nested subsets: the smaller inside the larger, labels in proportion, hardly moved by new rows."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tunewright.data.subsets import doubling_sizes, nested_order

KEYS = [f"row {number}" for number in range(1000)]
LABELS = ["often" if number % 10 else "rare" for number in range(1000)]


def test_every_beginning_holds_labels_in_proportion() -> None:
    order = nested_order(KEYS, LABELS)
    assert sorted(order) == list(range(1000))
    for size in (50, 100, 250, 500):
        counts = Counter(LABELS[row] for row in order[:size])
        assert abs(counts["rare"] - size / 10) <= 1


def test_an_order_is_stable_and_each_draw_has_another() -> None:
    first, again = nested_order(KEYS, LABELS), nested_order(KEYS, LABELS)
    assert (first == again).all()
    other = nested_order(KEYS, LABELS, draw=1)
    assert 30 < len(set(first[:250]) & set(other[:250])) < 100


def test_new_rows_hardly_move_the_old_ones() -> None:
    before = set(nested_order(KEYS, LABELS)[:250])
    more = [f"new {number}" for number in range(50)]
    after = nested_order(KEYS + more, LABELS + ["often"] * 50)[:262]
    assert len(before & {row for row in after if row < 1000}) >= 0.9 * 250


def test_the_order_of_rows_does_not_matter() -> None:
    back = nested_order(KEYS[::-1], LABELS[::-1])[:100]
    assert {999 - row for row in back} == set(nested_order(KEYS, LABELS)[:100])


def test_sizes_double_up_to_all_rows() -> None:
    assert doubling_sizes(8000, points=6, least=16) == [250, 500, 1000, 2000, 4000, 8000]
    assert doubling_sizes(100, points=5, least=16) == [25, 50, 100]


def test_rows_without_labels_are_drawn_alike() -> None:
    order = nested_order(KEYS, [None] * 1000)
    assert abs(np.mean(order[:200]) - 500) < 100
