"""Every example once an epoch, in an order that only seed and epoch decide."""

from __future__ import annotations

import pytest

from tunewright.training.sampler import ShuffledEpochs, draw_seed


@pytest.mark.parametrize(("num", "batch"), [(10, 3), (12, 4), (5, 8), (1, 1), (100, 7)])
def test_each_example_exactly_once_an_epoch(num: int, batch: int) -> None:
    sampler = ShuffledEpochs(num, batch=batch, seed=3, epochs=4)
    for epoch in range(4):
        steps = [sampler.step(epoch * sampler.per_epoch + n + 1) for n in range(sampler.per_epoch)]
        assert sorted(member for step in steps for member in step.members) == list(range(num))
        assert all(step.epoch == epoch for step in steps)
        assert all(len(step.members) == batch for step in steps[:-1])
    assert sampler.total == 4 * sampler.per_epoch


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    forward, backward = (ShuffledEpochs(23, batch=4, seed=1, epochs=3) for _ in range(2))
    steps = [forward.step(n) for n in range(1, 19)]
    assert [backward.step(n) for n in range(18, 0, -1)] == steps[::-1]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    sampler = ShuffledEpochs(50, batch=50, seed=1, epochs=2)
    other = ShuffledEpochs(50, batch=50, seed=2, epochs=2)
    assert sampler.step(1).members != sampler.step(2).members
    assert sampler.step(1).members != other.step(1).members


@pytest.mark.parametrize(
    ("epochs", "steps", "total"), [(0.5, None, 5), (1.0, None, 10), (0.01, None, 1), (2.25, None, 23), (None, 7, 7)]
)
def test_how_many_steps(epochs: float | None, steps: int | None, total: int) -> None:
    assert ShuffledEpochs(10, batch=1, seed=0, epochs=epochs, steps=steps).total == total


def test_draw_seeds_differ_between_steps_and_fit_a_generator() -> None:
    seeds = {draw_seed(seed, step) for seed in range(3) for step in range(100)}
    assert len(seeds) == 300 and all(0 <= seed < 2**63 for seed in seeds)
    assert draw_seed(1, 5) == draw_seed(1, 5)
