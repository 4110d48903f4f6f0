"""Two-sample tests: against other implementations, and as often wrong as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunewright.core import two_samples


def test_the_stability_index_is_the_symmetric_divergence_of_shares() -> None:
    reference, window = np.array([5000, 3000, 2000]), np.array([4000, 3000, 3000])
    first, second = reference / reference.sum(), window / window.sum()
    divergence = stats.entropy(first, second) + stats.entropy(second, first)
    assert two_samples.psi(reference, window) == pytest.approx(divergence, rel=1e-3)


@pytest.mark.parametrize(("rows", "critical"), [(100, 0.338), (200, 0.169), (1000, 0.034)])
def test_chance_stays_below_the_chi_square_form(rows: int, critical: float) -> None:
    assert two_samples.psi_critical(10, rows, rows, level=0.05) == pytest.approx(critical, abs=5e-4)
    drawn = np.random.default_rng(0).multinomial(rows, np.full(10, 0.1), (2000, 2))
    beyond = float((two_samples.psi(drawn[:, 0], drawn[:, 1]) > critical).mean())
    assert beyond == pytest.approx(0.05, abs=0.02)


def test_the_permutation_p_of_shares_is_that_of_chi_square_where_rows_are_many() -> None:
    table = np.array([[400, 300, 300], [440, 300, 260]])
    expected = stats.chi2_contingency(table, correction=False).pvalue
    found = np.mean([two_samples.psi_p(table[0], table[1], most=20_000, seed=seed) for seed in range(20)])
    assert found == pytest.approx(expected, rel=0.15)


def test_a_p_by_permutation_says_no_less_than_it_may() -> None:
    drawn = np.random.default_rng(1).random(400)
    generator = np.random.default_rng(2)
    found = np.array([two_samples.permutation_p(one, generator.random, most=999) for one in drawn])
    for level in (0.01, 0.05, 0.2):
        assert (found <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / len(found))
    assert two_samples.permutation_p(2.0, generator.random, most=999) == 1 / 1000


def test_a_rise_is_tested_as_fisher_does() -> None:
    for had, now in (((3, 200), (9, 150)), ((0, 50), (0, 50)), ((10, 40), (2, 90))):
        table = [[now[0], now[1] - now[0]], [had[0], had[1] - had[0]]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert two_samples.rise_p(had, now) == pytest.approx(expected)


def test_what_moved_is_found_where_it_is() -> None:
    generator = np.random.default_rng(0)
    reference, window = generator.normal(0, 1, 500), generator.normal(0.6, 1, 300)
    found = two_samples.kolmogorov(reference, window)
    places = np.concatenate([reference, window])
    distances = [(reference <= place).mean() - (window <= place).mean() for place in places]
    assert found.distance == pytest.approx(max(map(abs, distances)))
    assert found.up
    assert not two_samples.kolmogorov(window, reference).up


def test_rows_that_are_asked_for_show_the_shift() -> None:
    generator, level, shift, m = np.random.default_rng(0), 0.002, 0.2, 500
    n = two_samples.kolmogorov_rows(shift, m, level=level)
    assert n is not None
    assert two_samples.kolmogorov_seen(n, m, level=level) == pytest.approx(shift, abs=0.002)
    seen = 0
    for _ in range(200):
        window = np.where(generator.random(n) < shift, generator.random(n) + 1, generator.random(n))
        seen += two_samples.kolmogorov(generator.random(m), window).p <= level
    assert seen / 200 >= 0.8 - 3 * math.sqrt(0.8 * 0.2 / 200)
    assert two_samples.kolmogorov_rows(0.05, m, level=level) is None


def mmd_by_loops(vectors: np.ndarray, size: int) -> float:
    """Gretton et al. 2012, equation 3, term by term."""
    distances = [
        float(((vectors[i] - vectors[j]) ** 2).sum()) for i in range(len(vectors)) for j in range(i + 1, len(vectors))
    ]
    width = float(np.median(distances))

    def kernel(i: int, j: int) -> float:
        return math.exp(-float(((vectors[i] - vectors[j]) ** 2).sum()) / (2 * width))

    x, y = range(size), range(size, len(vectors))
    within_x = sum(kernel(i, j) for i in x for j in x if i != j) / (len(x) * (len(x) - 1))
    within_y = sum(kernel(i, j) for i in y for j in y if i != j) / (len(y) * (len(y) - 1))
    return within_x + within_y - 2 * sum(kernel(i, j) for i in x for j in y) / (len(x) * len(y))


def test_the_discrepancy_is_that_of_the_equation() -> None:
    from scipy import sparse

    generator = np.random.default_rng(0)
    vectors = np.concatenate([generator.normal(0, 1, (17, 3)), generator.normal(0.5, 1, (11, 3))])
    found = two_samples.mean_discrepancy(vectors, 17, most=200)
    assert found.value == pytest.approx(mmd_by_loops(vectors, 17))
    assert two_samples.mean_discrepancy(sparse.csr_matrix(vectors), 17, most=200).value == pytest.approx(found.value)


def test_the_discrepancy_finds_another_cloud_and_names_its_rows() -> None:
    generator = np.random.default_rng(0)
    odd = generator.normal(4, 0.5, (10, 4))
    vectors = np.concatenate([generator.normal(0, 1, (80, 4)), generator.normal(0, 1, (40, 4)), odd])
    found = two_samples.mean_discrepancy(vectors, 80, most=5000)
    assert found.p < 0.001
    assert set(np.argsort(-found.unlike)[:10].tolist()) == set(range(40, 50))


@pytest.mark.parametrize("how", ["mmd", "classifier"])
def test_clouds_of_one_kind_are_told_apart_as_often_as_allowed(how: str) -> None:
    generator = np.random.default_rng(3)
    found = []
    for seed in range(150):
        vectors = generator.normal(0, 1, (60, 3))
        test = two_samples.told_apart if how == "classifier" else None
        apart = test(vectors, 35, seed=seed) if test else two_samples.mean_discrepancy(vectors, 35, most=400, seed=seed)
        found.append(apart.p)
    assert (np.array(found) <= 0.05).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_the_classifier_s_area_is_that_of_rows_it_has_not_seen() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    vectors = np.concatenate([generator.normal(0, 1, (60, 3)), generator.normal(1.5, 1, (50, 3))])
    found = two_samples.told_apart(vectors, 60, seed=5)
    again, is_window, tested = np.random.default_rng(5), np.arange(110) >= 60, np.zeros(110, bool)
    for side in (np.arange(60), np.arange(60, 110)):
        tested[again.permutation(side)[: len(side) // 2]] = True
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=200, tol=1e-3)
    scores = model.fit(vectors[~tested], is_window[~tested]).decision_function(vectors[tested])
    assert found.value == pytest.approx(roc_auc_score(is_window[tested], scores))
    assert found.p < 0.001
