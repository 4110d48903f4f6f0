"""Pairwise ratings: strengths equal the reference's, shares are unbiased whatever was rated, intervals cover."""

from __future__ import annotations

import choix
import numpy as np
import pytest

from tunewright.core import preference
from tunewright.core.preference import Rated, bradley_terry, connected, preferences


def test_strengths_equal_the_reference() -> None:
    draw = np.random.default_rng(0)
    for _ in range(5):
        wins = draw.integers(1, 9, (5, 5)) + draw.integers(0, 2, (5, 5)) / 2
        np.fill_diagonal(wins, 0)
        assert bradley_terry(wins, prior=0) == pytest.approx(choix.ilsr_pairwise_dense(wins), abs=1e-7)


def test_strengths_of_many_resamples_are_those_of_each_alone() -> None:
    wins = np.random.default_rng(1).integers(0, 20, (7, 3, 3)).astype(float)
    wins[:, range(3), range(3)] = 0
    together = bradley_terry(wins)
    assert together == pytest.approx(np.stack([bradley_terry(one) for one in wins]), abs=1e-9)


def test_who_never_lost_is_strong_and_not_infinitely_so() -> None:
    wins = np.array([[0, 10.0], [0, 0]])
    strengths = bradley_terry(wins)
    assert strengths[0] - strengths[1] == pytest.approx(np.log(10.5 / 0.5))
    assert not connected(np.diag([1.0, 1.0]))


def rated(scores: list[float], *, pair: int = 0, rater: str = "ada", stratum: int = 0, first: int = 0) -> list[Rated]:
    return [Rated(pair, str(first + row), rater, score, stratum) for row, score in enumerate(scores)]


def test_one_vote_a_row_and_the_exact_sign_test() -> None:
    votes = rated([1] * 9 + [0, 0.5]) + rated([1] * 9 + [0, 0.5], rater="bo")
    found = preferences(votes, [(0, 1)], [[11, 0]]).pairs[0]
    assert found is not None
    assert (found.wins, found.ties, found.losses) == (9, 1, 1)
    assert found.p == pytest.approx(0.021484375)  # 9 to 1: twice P(Bin(10, 1/2) <= 1)
    assert found.share.value == pytest.approx(9.5 / 11)


def test_rows_with_the_same_answer_are_ties() -> None:
    found = preferences(rated([1, 1, 1, 0]), [(0, 1)], [[4, 12]]).pairs[0]
    assert found is not None
    assert found.share.value == pytest.approx((0.75 * 4 + 0.5 * 12) / 16)


def test_rows_that_are_rated_more_often_than_others_are_weighed_back() -> None:
    votes = rated([1] * 30, stratum=0) + rated([0] * 10, stratum=1, first=100)
    found = preferences(votes, [(0, 1)], [[100, 300, 0]], drawn_evenly=False).pairs[0]
    assert found is not None
    assert found.share.value == pytest.approx(0.25)  # and not 30 of 40
    assert found.test == "bootstrap"
    alone = preferences(rated([1] * 30), [(0, 1)], [[100, 300, 0]], drawn_evenly=False)
    assert alone.pairs == [None]  # of one stratum nothing is known
    assert alone.strengths is None


def test_all_wins_have_the_interval_of_a_share() -> None:
    found = preferences(rated([1] * 10), [(0, 1)], [[10, 0]]).pairs[0]
    assert found is not None
    assert found.share.low == pytest.approx(0.7225, abs=1e-4)
    assert found.share.high == 1


def test_strengths_go_through_a_common_contestant() -> None:
    votes = rated([1] * 15 + [0] * 5) + rated([1] * 10 + [0] * 10, pair=1)
    found = preferences(votes, [(0, 1), (0, 2)], [[20, 0], [20, 0]])
    assert found.strengths is not None
    tuned, base, few = (one.value for one in found.strengths)
    assert tuned == pytest.approx(few, abs=1e-9)
    assert tuned - base == pytest.approx(np.log(15.5 / 5.5))
    apart = preferences(votes, [(0, 1), (2, 3)], [[20, 0], [20, 0]])
    assert apart.strengths is None


@pytest.mark.parametrize(("rows", "raters"), [(30, 1), (40, 3)])
def test_intervals_cover_the_truth(monkeypatch: pytest.MonkeyPatch, rows: int, raters: int) -> None:
    monkeypatch.setattr(preference, "RESAMPLES", 1000)
    draw = np.random.default_rng(rows)
    covered = above = 0
    for seed in range(200):
        truth = np.where(draw.random(rows) < 0.2, 0.5, draw.random(rows) < 0.6)
        given = np.where(draw.random((raters, rows)) < 0.8, truth, draw.choice([0, 0.5, 1], (raters, rows)))
        votes = [one for number, row in enumerate(given.tolist()) for one in rated(row, rater=str(number))]
        same = int(draw.binomial(200, 0.2))
        found = preferences(votes, [(0, 1)], [[200 - same, same]], seed=seed).pairs[0]
        assert found is not None
        real = 0.2 * 0.5 + 0.8 * (0.8 * (0.2 * 0.5 + 0.8 * 0.6) + 0.2 * 0.5)
        covered += found.share.low <= real <= found.share.high
        above += found.share.low > real
    assert covered >= 182  # 95 % less three standard errors
    assert above <= 12
