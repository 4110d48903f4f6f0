"""Whether two samples come from one distribution: p values that hold for samples of any size, and what would be seen.

The first sample is the reference, the second the window. Pure functions of numbers; scipy is loaded when used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunewright.core.statistics import normal_quantile

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ENOUGH = 20  # permutations at least as far apart as what was found: more would not change the decision
_AT_ONCE = 500
_HALF_A_ROW = 0.5  # added to each count, so that an empty class has a finite logarithm


@dataclass(frozen=True)
class Moved:
    """How far a number has moved: the largest distance of the two distribution functions, where, and whether the
    window has more above it (`up`) or below.
    """

    distance: float
    at: float
    up: bool
    p: float


@dataclass(frozen=True)
class Apart:
    """How far two clouds of vectors are apart, its p, and for each of the window how unlike the reference it is."""

    value: float
    p: float
    unlike: np.ndarray


def permutation_p(found: float, draw: Callable[[int], np.ndarray], *, most: int) -> float:
    """The p of a statistic against its values under random permutations, `draw(count)` giving so many of these.

    Drawing stops once ENOUGH of them reach what was found: then p = ENOUGH / drawn, else (reached + 1) / (most + 1);
    either is valid for any sample (Besag and Clifford, Biometrika 78, 1991, section 3).
    """
    reached = drawn = 0
    floor = found - 1e-12 * max(1.0, abs(found))
    while drawn < most:
        values = draw(min(_AT_ONCE, most - drawn))
        hits = np.flatnonzero(values >= floor)
        if reached + len(hits) >= ENOUGH:
            return ENOUGH / (drawn + int(hits[ENOUGH - reached - 1]) + 1)
        reached += len(hits)
        drawn += len(values)
    return (reached + 1) / (most + 1)


# --- classes ---


def psi(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The population stability index of counts by class (last axis), sum (a - e) ln(a / e), half a row added to each
    class (Siddiqi 2006; the symmetric divergence of Jeffreys).
    """
    shares = [
        (counts + _HALF_A_ROW) / (counts.sum(-1, keepdims=True) + _HALF_A_ROW * counts.shape[-1])
        for counts in (np.asarray(reference, float), np.asarray(window, float))
    ]
    found: np.ndarray = ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum(-1)
    return found


def psi_critical(classes: int, n: int, m: int, *, level: float) -> float:
    """What the index exceeds by chance with probability `level` on samples of n and m rows: chi2_{classes - 1} times
    (1/n + 1/m), for large samples (Yurdakul 2018, Statistical Properties of Population Stability Index, section 3).
    With it a fixed bound such as 0.1 or 0.25 is far too low for small windows, and too high for large ones.
    """
    from scipy.stats import chi2

    return float(chi2.isf(level, classes - 1) * (1 / n + 1 / m))


def psi_p(reference: np.ndarray, window: np.ndarray, *, most: int, seed: int = 0) -> float:
    """The p of the index by permutation: exact also where classes have next to no rows, as chi-square is not."""
    generator = np.random.default_rng(seed)
    both = (np.asarray(reference) + np.asarray(window)).astype(np.int64)
    size = int(np.sum(window))

    def draw(count: int) -> np.ndarray:
        drawn = generator.multivariate_hypergeometric(both, size, size=count)
        return psi(both - drawn, drawn)

    return permutation_p(float(psi(reference, window)), draw, most=most)


def rise_p(reference: tuple[int, int], window: tuple[int, int]) -> float:
    """One-sided p of "no more often than in the reference", of (times, rows) each: Fisher's exact test (1935)."""
    from scipy.stats import hypergeom

    times = reference[0] + window[0]
    return float(hypergeom.sf(window[0] - 1, reference[1] + window[1], times, window[1]))


# --- numbers ---


def kolmogorov(reference: np.ndarray, window: np.ndarray) -> Moved:
    """The two-sample test of Kolmogorov and Smirnov (1939), two-sided. Where values tie its p is too high, never too
    low.
    """
    from scipy.stats import ks_2samp

    found = ks_2samp(reference, window, method="auto")
    return Moved(
        float(found.statistic), float(found.statistic_location), int(found.statistic_sign) > 0, float(found.pvalue)
    )


def kolmogorov_seen(n: int, m: int, *, level: float, power: float = 0.8) -> float:
    """The distance of distribution functions that samples of n and m rows show with at least this power; also the
    share of the traffic that has become unlike. 1 or more: none.

    At the place where the two lie d apart the empirical ones do too, with a standard error of at most half of
    sqrt(1/n + 1/m); so d = (K_level + z_power / 2) sqrt(1/n + 1/m) is enough, K the limit's quantile.
    """
    return _reach(level, power) * math.sqrt(1 / n + 1 / m)


def kolmogorov_rows(shift: float, m: int, *, level: float, power: float = 0.8) -> int | None:
    """Rows of a window that show a distance of `shift` against m rows; None where no number of them would."""
    harmonic = (_reach(level, power) / shift) ** 2
    return math.ceil(harmonic * m / (m - harmonic)) if m > harmonic else None


def _reach(level: float, power: float) -> float:
    from scipy.stats import kstwobign

    return float(kstwobign.isf(level)) + normal_quantile(power) / 2


def fall_p(reference: np.ndarray, window: np.ndarray) -> float:
    """One-sided p of "the mean is no lower than the reference's" (Welch 1947)."""
    from scipy.stats import ttest_ind

    if np.ptp(reference) == 0 and np.ptp(window) == 0:
        return 1.0 if window[0] >= reference[0] else 0.0
    return float(ttest_ind(window, reference, equal_var=False, alternative="less").pvalue)


# --- vectors ---


def mean_discrepancy(vectors: np.ndarray | csr_matrix, size: int, *, most: int, seed: int = 0) -> Apart:
    """The kernel two-sample test of Gretton et al. (JMLR 13, 2012): the unbiased MMD^2 (their equation 3) of an RBF
    kernel whose width is the median distance (their section 8), its p by permutation. vectors: [rows, features], the
    first `size` of them the reference. unlike: minus their witness function (section 2.3) at each row of the window.
    """
    kernel = _kernel(vectors)
    rows = len(kernel)
    n, m = rows - size, size
    sums, total = kernel.sum(1), float(kernel.sum())

    def discrepancy(is_window: np.ndarray) -> np.ndarray:
        within = np.einsum("rc,rc->c", is_window, kernel @ is_window)
        across = sums @ is_window - within
        other = total - 2 * across - within
        found: np.ndarray = within / (n * (n - 1)) + other / (m * (m - 1)) - 2 * across / (n * m)
        return found

    generator = np.random.default_rng(seed)
    mine = np.zeros((rows, 1))
    mine[size:] = 1

    def draw(count: int) -> np.ndarray:
        return discrepancy(generator.permuted(np.repeat(mine, count, 1), axis=0))

    found = float(discrepancy(mine)[0])
    unlike = kernel[size:, size:].sum(1) / (n - 1) - kernel[size:, :size].sum(1) / m
    return Apart(found, permutation_p(found, draw, most=most), unlike)


def _kernel(vectors: np.ndarray | csr_matrix) -> np.ndarray:
    """RBF similarities of all pairs [rows, rows], zeros on the diagonal: a row is not compared with itself."""
    product = vectors @ vectors.T
    products = np.asarray(product if isinstance(product, np.ndarray) else product.toarray(), np.float64)
    lengths = np.diag(products)
    squares = np.maximum(lengths[:, None] + lengths[None, :] - 2 * products, 0.0)
    width = float(np.median(squares[np.triu_indices(len(squares), 1)])) or 1.0  # of the distance, squared
    kernel = np.exp(-squares / (2 * width))
    np.fill_diagonal(kernel, 0.0)
    return kernel


def told_apart(vectors: np.ndarray | csr_matrix, size: int, *, seed: int = 0) -> Apart:
    """How well a classifier tells the window from the reference: the area under its ROC curve on rows it has not seen,
    and the p of 0.5 by Mann and Whitney's test (Lopez-Paz and Oquab 2017, arXiv 1610.06545).

    A logistic regression learns from one half of the rows and is tested on the other. unlike: for each row of the
    window, what a model that has not seen it gives.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.linear_model import LogisticRegression

    rows = vectors.shape[0]
    is_window = np.arange(rows) >= size
    tested = np.zeros(rows, bool)
    generator = np.random.default_rng(seed)
    for side in (np.flatnonzero(~is_window), np.flatnonzero(is_window)):
        tested[generator.permutation(side)[: len(side) // 2]] = True
    scores = np.zeros(rows)
    for held in (tested, ~tested):
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=200, tol=1e-3)
        scores[held] = model.fit(vectors[~held], is_window[~held]).decision_function(vectors[held])
    found = mannwhitneyu(scores[tested & is_window], scores[tested & ~is_window], alternative="greater")
    area = float(found.statistic) / (int((tested & is_window).sum()) * int((tested & ~is_window).sum()))
    return Apart(area, float(found.pvalue), scores[is_window])
