"""Tests that may be looked at after every outcome: they rarely cry wolf, and find what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunewright.core import sequential


def test_the_ratio_is_the_published_one() -> None:
    n, variance, tau, mean = 400, 0.2, 0.07, 0.05
    ratio = math.sqrt(variance / (variance + n * tau**2)) * math.exp(
        n**2 * tau**2 * mean**2 / (2 * variance * (variance + n * tau**2))
    )
    found = sequential.msprt(np.array([mean]), np.array([variance / n]), effect=tau)
    assert found.p[0] == pytest.approx(min(1.0, 1 / ratio))


def test_the_interval_holds_what_p_does_not_reject() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random(300)
    found = sequential.watch_mean(scores, effect=0.1)
    for edge, inside in ((found.low, 0.002), (found.high, -0.002)):
        last = float(edge[-1])
        assert sequential.watch_mean(scores, effect=0.1, null=last + inside).p[-1] > 0.05
        assert sequential.watch_mean(scores, effect=0.1, null=last - inside).p[-1] <= 0.05
    assert (np.diff(found.p) <= 0).all()
    assert (found.low[1:] >= found.low[:-1]).all()


@pytest.mark.parametrize("effect", [0.05, 0.1])
@pytest.mark.parametrize("discordant", [0.05, 0.4, 0.8])
def test_pairs_watched_all_the_time_rarely_raise_a_false_alarm(effect: float, discordant: float) -> None:
    generator = np.random.default_rng(1)
    draws = generator.random((800, 1500))
    scores = np.where(draws < discordant / 2, 1.0, np.where(draws < discordant, -1.0, 0.0))
    alarms = [sequential.watch_mean(row, effect=effect).p[-1] <= 0.05 for row in scores]
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("right", [0.5, 0.9, 0.95, 0.99])
def test_arms_watched_all_the_time_rarely_raise_a_false_alarm(share: float, right: float) -> None:
    """Even where the new release has a tenth of the traffic, as a first trial does."""
    generator = np.random.default_rng(2)
    alarms = []
    for _ in range(600):
        is_new = generator.random(1500) < share
        found = sequential.watch_arms((generator.random(1500) < right).astype(float), is_new, effect=0.1)
        alarms.append(found.p[-1] <= 0.05)
        assert alarms[-1] == (found.low[-1] > 0 or found.high[-1] < 0)
    assert np.mean(alarms) <= 0.05


def test_peeking_with_a_test_of_one_look_does_raise_them() -> None:
    """What the sequential test is for: the usual one cries wolf in a third of the cases."""
    generator = np.random.default_rng(3)
    scores = np.where(generator.random((400, 1500)) < 0.5, 1.0, -1.0)
    n = np.arange(1, 1501)
    z = np.abs(scores.cumsum(axis=1)) / np.sqrt(n)
    assert ((z > 1.96) & (n >= 10)).any(axis=1).mean() > 0.3


def test_a_difference_that_is_there_is_found_and_its_interval_covers() -> None:
    generator = np.random.default_rng(4)
    found, covered = 0, 0
    for _ in range(300):
        is_new = generator.random(3000) < 0.5
        scores = (generator.random(3000) < np.where(is_new, 0.9, 0.8)).astype(float)
        watched = sequential.watch_arms(scores, is_new, effect=0.1)
        found += watched.decided(0.05) is not None and watched.low[-1] > 0
        covered += watched.low[-1] <= 0.1 <= watched.high[-1]
    assert found / 300 > 0.97
    assert covered / 300 >= 0.95


def test_few_outcomes_tell_nothing() -> None:
    watched = sequential.watch_arms(np.array([0.0, 1.0] * 9), np.array([False, True] * 9), effect=0.5)
    assert watched.decided(0.05) is None
    assert watched.p[-1] == 1
    with pytest.raises(ValueError, match="one of them has no outcome"):
        sequential.watch_arms(np.ones(3), np.ones(3, dtype=bool), effect=0.1)
    with pytest.raises(ValueError, match="above 0"):
        sequential.watch_mean(np.ones(3), effect=0.0)


def test_walds_test_errs_no_oftener_than_it_says_and_stops_early() -> None:
    generator = np.random.default_rng(5)
    told = {}
    for share in (0.9, 0.8):
        rows = (generator.random((1500, 2000)) < share).astype(float)
        told[share] = [sequential.sprt(row, good=0.9, bad=0.8) for row in rows]
    assert np.mean([word == "good" for word, _ in told[0.8]]) <= 0.05
    assert np.mean([word == "bad" for word, _ in told[0.9]]) <= 0.2
    assert np.mean([after for _, after in told[0.9]]) < 120  # a test of fixed size needs 156 rows
    assert sequential.sprt(np.array([1.0, 1.0]), good=0.9, bad=0.8) == ("open", 2)
    with pytest.raises(ValueError, match="bad < good"):
        sequential.sprt(np.ones(2), good=0.5, bad=0.8)


def test_walds_bounds_are_the_published_ones() -> None:
    """ln(0.8 / 0.05) = 2.77 and ln(0.2 / 0.95) = -1.56: so many right ones, or wrong ones, in a row decide."""
    right = math.ceil(2.7726 / math.log(0.9 / 0.5))
    assert sequential.sprt(np.ones(20), good=0.9, bad=0.5) == ("good", right)
    wrong = math.ceil(1.5581 / math.log(0.5 / 0.1))
    assert sequential.sprt(np.zeros(20), good=0.9, bad=0.5) == ("bad", wrong)
