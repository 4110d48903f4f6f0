"""The statistics agree with published values, with scipy, and with simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunewright.core import statistics


def mean(totals: np.ndarray) -> np.ndarray:
    return totals[..., 0] / totals[..., 1]


def tally(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(45, 50, 0.782, 0.967), (90, 100, 0.824, 0.951), (180, 200, 0.850, 0.938)]
)
def test_clopper_pearson_gives_published_values(successes: int, n: int, low: float, high: float) -> None:
    found = statistics.clopper_pearson(successes, n)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


@pytest.mark.parametrize(("n", "high"), [(50, 0.071), (100, 0.036), (200, 0.018)])
def test_no_failure_leaves_a_known_upper_bound(n: int, high: float) -> None:
    assert round(statistics.clopper_pearson(0, n).high, 3) == high


@pytest.mark.parametrize("successes", [0, 1, 7, 29, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_share_intervals_agree_with_scipy(successes: int, confidence: float) -> None:
    for method, function in (("wilson", statistics.wilson), ("exact", statistics.clopper_pearson)):
        oracle = stats.binomtest(successes, 30).proportion_ci(confidence, method=method)
        found = function(successes, 30, confidence=confidence)
        assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 0.9, 0.97])
@pytest.mark.parametrize("n", [50, 200])
def test_wilson_covers_about_as_often_as_it_says(share: float, n: int) -> None:
    covered = 0.0
    for successes in range(n + 1):
        found = statistics.wilson(successes, n)
        covered += stats.binom.pmf(successes, n, share) * (found.low <= share <= found.high)
    assert 0.915 < covered < 0.99


@pytest.mark.parametrize(
    ("wins", "losses", "significant"),
    [(6, 0, True), (5, 0, False), (9, 1, True), (10, 2, True), (12, 3, True), (15, 5, True), (20, 9, False)],
)
def test_mcnemar_decides_as_tabulated(wins: int, losses: int, significant: bool) -> None:
    p = statistics.mcnemar(wins, losses)
    assert (p <= 0.05) == significant
    assert p == statistics.mcnemar(losses, wins) == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)


def test_mcnemar_without_disagreement_says_nothing() -> None:
    assert statistics.mcnemar(0, 0) == 1
    assert round(statistics.mcnemar(20, 9), 3) == 0.061


@pytest.mark.parametrize(
    ("n", "powers"),
    [
        (50, (0.07, 0.24, 0.48, 0.18, 0.20)),
        (100, (0.18, 0.54, 0.84, 0.37, 0.56)),
        (200, (0.37, 0.88, 0.99, 0.70, 0.91)),
    ],
)
def test_power_of_mcnemar_is_the_tabulated_one(n: int, powers: tuple[float, ...]) -> None:
    rates = [(0.10, 0.05), (0.15, 0.05), (0.20, 0.05), (0.20, 0.10), (0.10, 0.02)]
    assert [statistics.mcnemar_power(n, win, loss) for win, loss in rates] == pytest.approx(powers, abs=0.0051)


def test_rows_asked_for_give_the_power_they_promise() -> None:
    rows = statistics.rows_for_pairs(0.15, 0.05)
    assert rows == 155
    assert (
        0.74 < statistics.mcnemar_power(rows, 0.15, 0.05) < 0.84
    )  # the exact test is a little stricter than the formula
    assert statistics.rows_for_pairs(0.1, 0.1) is None
    rows = statistics.rows_for_threshold(0.85, 0.8)
    decided = sum(
        stats.binom.pmf(right, rows, 0.85) for right in range(rows + 1) if statistics.wilson(right, rows).low >= 0.8
    )
    assert 0.77 < decided < 0.84
    assert statistics.rows_for_threshold(0.8, 0.8) is None
    assert statistics.rows_for_error(0.1, 0.05, 100) == 197  # 100 x (2.8016 x 0.5)^2
    assert statistics.rows_for_error(0.0, 0.05, 100) is None


def test_bca_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).beta(5, 1.2, size=60)
    level = 1 - 2 * stats.norm.sf(statistics.widened(0.95, 60))
    found_by_scipy = stats.bootstrap((values,), np.mean, confidence_level=level, method="BCa", random_state=3)
    oracle = found_by_scipy.confidence_interval
    found = statistics.bootstrap(tally(values), mean)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.004)


def test_the_tails_are_widened_for_few_rows_only() -> None:
    assert statistics.widened(0.95, 30) == pytest.approx(2.045 * (30 / 29) ** 0.5, abs=1e-3)
    assert statistics.widened(0.95, 100_000) == pytest.approx(1.96, abs=1e-3)


def test_bca_bootstrap_covers_a_skewed_mean() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        found = statistics.bootstrap(tally(generator.beta(4, 0.5, size=50)), mean, resamples=1000)
        covered += found.low <= 4 / 4.5 <= found.high
    assert 0.90 < covered / 300 < 0.99


def test_rows_all_alike_do_not_pretend_to_certainty() -> None:
    found = statistics.bootstrap(tally(np.ones(20)), mean)
    assert found.high == 1
    assert found.low == pytest.approx(statistics.wilson(20, 20).low)


def test_the_bootstrap_repeats_itself_and_stays_within_memory() -> None:
    values = np.random.default_rng(2).random(5000)
    first = statistics.bootstrap(tally(values), mean, resamples=2000, seed=1)
    assert first == statistics.bootstrap(tally(values), mean, resamples=2000, seed=1)
    assert first.high - first.low == pytest.approx(2 * 1.96 * values.std() / 5000**0.5, rel=0.1)


def test_paired_bootstrap_uses_the_pairing() -> None:
    generator = np.random.default_rng(4)
    hardness = generator.random(80)
    better, worse = tally(hardness), tally(hardness - 0.05 + generator.normal(0, 0.05, 80))
    found = statistics.paired_bootstrap(better, worse, mean)
    assert found.low > 0
    assert found.p < 0.001
    assert statistics.paired_bootstrap(worse, better, mean).value == pytest.approx(-found.value)
    assert statistics.paired_bootstrap(better, better, mean).p == 1


def test_a_handful_of_rows_decides_nothing() -> None:
    assert statistics.paired_bootstrap(tally(np.ones(3)), tally(np.zeros(3)), mean).p == 0.25


def test_paired_bootstrap_rarely_finds_what_is_not_there() -> None:
    generator = np.random.default_rng(6)
    found = [
        statistics.paired_bootstrap(tally(generator.random(40)), tally(generator.random(40)), mean, resamples=1000).p
        for _ in range(400)
    ]
    assert np.mean(np.array(found) <= 0.05) < 0.08


@pytest.mark.parametrize(("win", "loss"), [(0.15, 0.05), (0.02, 0.02), (0.4, 0.1)])
def test_interval_of_paired_shares_covers(win: float, loss: float) -> None:
    generator = np.random.default_rng(7)
    counts = generator.multinomial(80, [0.9 * (1 - win - loss), win, loss, 0.1 * (1 - win - loss)], size=2000)
    found = [statistics.paired_shares(*row) for row in counts.tolist()]
    covered = np.mean([one.low <= win - loss <= one.high for one in found])
    assert 0.93 < covered <= 1
    assert all(one.low <= one.value <= one.high for one in found)


def test_holm_gives_the_textbook_values() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []
    assert statistics.holm([0.6, 0.9]) == [1, 1]


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="found 3 of 2"):
        statistics.wilson(3, 2)
    with pytest.raises(ValueError, match="found 0 of 0"):
        statistics.clopper_pearson(0, 0)
    with pytest.raises(ValueError, match="negative"):
        statistics.mcnemar(-1, 2)


# --- clusters ---


def test_rows_of_a_cluster_are_one_witness() -> None:
    values = np.random.default_rng(8).random(40)
    tripled = tally(np.repeat(values, 3))
    names = np.repeat(np.arange(40), 3).astype(str).tolist()
    gathered = statistics.by_cluster(tripled, names)
    assert gathered.shape == (40, 2)
    assert gathered.sum(axis=0) == pytest.approx(tripled.sum(axis=0))
    clustered, single = statistics.bootstrap(gathered, mean), statistics.bootstrap(tally(values), mean)
    assert clustered.value == pytest.approx(single.value)
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.1)
    naive = statistics.bootstrap(tripled, mean)
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)


def clustered_answers(generator: np.random.Generator, num: int, share: float) -> tuple[np.ndarray, list[str]]:
    """Right or wrong, in clusters of 1 to 6 rows that are right or wrong together half of the time."""
    of_row = np.repeat(np.arange(num), generator.integers(1, 7, num))
    chance = generator.beta(share, 1 - share, num)[of_row]
    return (generator.random(len(of_row)) < chance).astype(float), of_row.astype(str).tolist()


def test_the_interval_of_clusters_covers_where_that_of_rows_does_not() -> None:
    generator = np.random.default_rng(9)
    covered = naive = 0
    for _ in range(400):
        values, names = clustered_answers(generator, 60, 0.8)
        found = statistics.bootstrap(statistics.by_cluster(tally(values), names), mean, resamples=1000)
        covered += found.low <= 0.8 <= found.high
        rows = statistics.wilson(values.sum(), len(values))
        naive += rows.low <= 0.8 <= rows.high
    assert 0.92 <= covered / 400 <= 0.985
    assert naive / 400 < 0.85


def test_the_paired_test_of_clusters_rarely_finds_what_is_not_there() -> None:
    generator = np.random.default_rng(10)
    found = 0
    for _ in range(400):
        first, names = clustered_answers(generator, 40, 0.7)
        second = np.where(generator.random(len(first)) < 0.5, first, 1 - first)
        flip = np.repeat(generator.random(40) < 0.5, np.unique(names, return_counts=True)[1])
        order = np.argsort(np.argsort(names, kind="stable"), kind="stable")
        swap = flip[order]  # which of the two is better is a coin's throw for each whole cluster
        one, other = np.where(swap, second, first), np.where(swap, first, second)
        pair = [statistics.by_cluster(tally(values), names) for values in (one, other)]
        found += statistics.paired_bootstrap(*pair, mean, resamples=1000).p <= 0.05
    assert found / 400 <= 0.075


# --- not worse by more than a margin ---


def test_tangos_test_is_the_score_test_at_the_restricted_maximum() -> None:
    from scipy.optimize import minimize_scalar

    wins, losses, n, margin = 12, 9, 100, 0.05
    rest = n - wins - losses

    def unlikely(lost: float) -> float:
        won = lost - margin
        return -float(wins * np.log(won) + losses * np.log(lost) + rest * np.log(1 - won - lost))

    lost = minimize_scalar(unlikely, bounds=(margin + 1e-9, 0.5), method="bounded", options={"xatol": 1e-12}).x
    z = (wins - losses + n * margin) / np.sqrt(n * (2 * lost - margin - margin**2))
    assert statistics.tango(wins, losses, n, margin) == pytest.approx(2 * stats.norm.sf(z), rel=1e-6)


@pytest.mark.parametrize(("loss", "margin", "n"), [(0.08, 0.05, 100), (0.1, 0.05, 200), (0.05, 0.03, 400)])
def test_a_model_lower_by_the_margin_is_rarely_called_near_enough(loss: float, margin: float, n: int) -> None:
    counts = np.random.default_rng(11).multinomial(n, [loss - margin, loss, 1 + margin - 2 * loss], size=20_000)
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    wrong = sum(
        count
        for (wins, losses, _), count in zip(kinds.tolist(), times.tolist(), strict=True)
        if (wins - losses) / n > -margin and statistics.tango(wins, losses, n, margin) <= 0.05
    )
    assert wrong / 20_000 <= 0.03  # one side of 0.05


def test_equal_answers_show_no_worse_only_with_enough_rows() -> None:
    right = tally(np.ones(60))
    for n, enough in ((60, False), (100, True)):
        assert (statistics.tango(0, 0, n, 0.05) <= 0.05) == enough
        same = tally(np.ones(n))
        assert (statistics.paired_bootstrap(same, same, mean, margin=0.05, resamples=200).p <= 0.05) == enough
    assert statistics.paired_bootstrap(right, right, mean).p == 1
    worse = statistics.paired_bootstrap(tally(np.full(60, 0.5)), tally(np.full(60, 0.7)), mean, margin=0.05)
    assert worse.value < -0.05
    assert worse.p < 0.01  # lower by more than the margin, for sure


def test_a_better_model_is_no_worse_by_any_margin() -> None:
    generator = np.random.default_rng(12)
    better, other = tally(generator.random(40) * 0.2 + 0.8), tally(generator.random(40) * 0.2 + 0.3)
    assert statistics.paired_bootstrap(better, other, mean, margin=0.01).p <= 0.001


def test_paired_bootstrap_at_the_margin_is_rarely_wrong() -> None:
    generator = np.random.default_rng(13)
    found = 0
    for _ in range(400):
        other = generator.beta(4, 2, 80)
        mine = np.clip(other - 0.05 + generator.normal(0, 0.1, 80), 0, 1)
        truth = 0.0499  # clipping hardly moves it
        result = statistics.paired_bootstrap(tally(mine), tally(other), mean, margin=truth, resamples=1000)
        found += result.value > -truth and result.p <= 0.05
    assert found / 400 <= 0.05


def test_rows_asked_for_show_no_worse() -> None:
    rows = statistics.rows_for_pairs(0.05, 0.05, margin=0.05)
    assert rows is not None
    counts = np.random.default_rng(14).multinomial(rows, [0.05, 0.05, 0.9], size=2000).tolist()
    told = np.mean(
        [statistics.tango(won, lost, rows, 0.05) <= 0.05 and won - lost > -0.05 * rows for won, lost, _ in counts]
    )
    assert 0.75 <= told <= 0.87
    assert statistics.rows_for_pairs(0.05, 0.1, margin=0.05) is None


# --- failures that must not happen ---


def test_no_failure_is_bounded_by_the_rule_of_three() -> None:
    assert statistics.most_failures(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert statistics.most_failures(0, 300) == pytest.approx(3 / 300, rel=0.02)
    oracle = stats.binomtest(2, 50, alternative="less").proportion_ci(0.95, method="exact").high
    assert statistics.most_failures(2, 50) == pytest.approx(oracle)
    assert statistics.most_failures(5, 5) == 1


# --- how often intervals cover: what docs/evaluate.md says of them ---


@pytest.mark.parametrize("n", [50, 100, 200, 500])
def test_wilsons_interval_covers_94_to_96_5_percent(n: int) -> None:
    """Exactly, over shares spread evenly from 0.1 to 0.95; single shares lie around it."""
    found = [statistics.wilson(successes, n) for successes in range(n + 1)]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    shares = np.linspace(0.1, 0.95, 400)
    inside = (low <= shares[:, None]) & (shares[:, None] <= high)
    covered = (stats.binom.pmf(np.arange(n + 1), n, shares[:, None]) * inside).sum(axis=1)
    assert 0.94 <= covered.mean() <= 0.965
    assert covered.min() > 0.90


@pytest.mark.parametrize("n", [50, 100, 200])
def test_newcombes_interval_covers_94_to_96_5_percent(n: int) -> None:
    """Over drawn truths: tuned right in 50 to 95 of 100, the contestant in 30 to 90, in every agreement."""
    generator = np.random.default_rng(15)
    tuned, other = generator.uniform(0.5, 0.95, 3000), generator.uniform(0.3, 0.9, 3000)
    both = generator.uniform(np.maximum(tuned + other - 1, tuned * other), np.minimum(tuned, other))
    chances = np.column_stack([both, tuned - both, other - both, 1 - tuned - other + both]).clip(0)
    covered = 0
    for chance in chances:
        found = statistics.paired_shares(*generator.multinomial(n, chance / chance.sum()).tolist())
        covered += found.low <= chance[1] - chance[2] <= found.high
    assert 0.94 <= covered / 3000 <= 0.965


@pytest.mark.parametrize(("n", "a", "b"), [(60, 4, 0.8), (100, 2, 2), (150, 3, 1)])
def test_the_bca_interval_covers_94_to_96_5_percent(n: int, a: float, b: float) -> None:
    generator = np.random.default_rng(17)
    sets = generator.beta(a, b, (1500, n))
    found = [statistics.bootstrap(tally(values), mean, resamples=999) for values in sets]
    covered = np.mean([one.low <= a / (a + b) <= one.high for one in found])
    assert 0.94 - 0.006 <= covered <= 0.965  # 0.006: the error of 1,500 sets
