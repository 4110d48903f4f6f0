"""What pairwise ratings say: how often one contestant is preferred to another, and how strong each is.

Rows and raters are drawn again together for every interval, since both could have been others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunewright.core import statistics
from tunewright.core.statistics import Interval

RESAMPLES = 4_000
PRIOR = 0.5  # wins added to both sides of a pair: who never lost would else be infinitely strong
_STEPS = 100


@dataclass(frozen=True)
class Rated:
    """One rating of a pair's answers to a row. score: 1 for the pair's first, 0 for its second, 1/2 for a tie.

    stratum: which rows it was drawn from, where rows of some kind are rated more often than others.
    """

    pair: int
    row: str
    rater: str
    score: float
    stratum: int = 0


@dataclass(frozen=True)
class Preference:
    """One pair: the share of rows on which the first is preferred, ties split, with its 95 % interval.

    error: its standard error. p: of "both are preferred equally often". wins, ties, losses: rows, each by the mean of
    its raters.
    """

    share: Interval
    error: float
    p: float
    test: str
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Preferences:
    """Each pair in its order (None where a stratum that has rows has no rating), and each contestant's strength."""

    pairs: list[Preference | None]
    strengths: list[Interval] | None


def preferences(
    rated: Sequence[Rated],
    pairs: Sequence[tuple[int, int]],
    sizes: Sequence[Sequence[int]],
    *,
    drawn_evenly: bool = True,
    seed: int = 0,
) -> Preferences:
    """pairs: contestants by number. sizes: rows of each pair's strata, then rows whose answers are the same: ties.

    The share is the strata's means, weighted by their sizes: unbiased whatever share of each was rated, as long as the
    rows of a stratum were drawn at random. Intervals: both rows and raters are resampled (the pigeonhole bootstrap,
    Owen 2007, Annals of Applied Statistics 1), and so are the sizes of the strata; tails widened for few rows
    (Hesterberg 2015). drawn_evenly: rows were drawn at random from all that differ: then the exact sign test holds,
    each row one vote; else p inverts the bootstrap.
    """
    counted = np.array(sizes, dtype=float)
    estimate, drawn = _shares(rated, counted, seed)
    found: list[Preference | None] = []
    for number in range(len(pairs)):
        own = [one for one in rated if one.pair == number]
        if not own or np.isnan(estimate[number]):
            found.append(None)
        else:
            found.append(_preference(own, float(estimate[number]), drawn[:, number], counted[number], drawn_evenly))
    rows = np.array([len({one.row for one in rated if one.pair == number}) for number in range(len(pairs))])
    known = [number for number, one in enumerate(found) if one is not None]
    contestants = 1 + max((max(pair) for pair in pairs), default=-1)
    wins = _win_matrix(estimate[None], rows, pairs, known, contestants)[0]
    if not known or not connected(wins):
        return Preferences(found, None)
    values = bradley_terry(wins)
    spread = bradley_terry(_win_matrix(drawn, rows, pairs, known, contestants))
    low, high = np.quantile(spread, [0.025, 0.975], axis=0)
    strengths = [
        Interval(float(value), float(min(value, down)), float(max(value, up)))
        for value, down, up in zip(values, low, high, strict=True)
    ]
    return Preferences(found, strengths)


def bradley_terry(wins: np.ndarray, *, prior: float = PRIOR) -> np.ndarray:
    """Strengths of contestants, mean 0, so that i is preferred to j with a chance of sigmoid(strength_i - strength_j)
    (Bradley and Terry 1952): the likeliest, by Newton's method.

    wins: [..., K, K], how often i was preferred to j; a tie is half a win for both. prior: added to both sides of each
    pair that was compared. The pairs must connect all contestants.
    """
    compared = (wins + np.swapaxes(wins, -1, -2)) > 0
    wins = wins + prior * compared
    both = wins + np.swapaxes(wins, -1, -2)
    size = wins.shape[-1]
    strengths = np.zeros(wins.shape[:-1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(strengths[..., None, :] - strengths[..., :, None]))
        gradient = (wins - both * chance).sum(axis=-1)
        bend = both * chance * (1 - chance)
        curvature = np.eye(size) * bend.sum(axis=-1)[..., None] - bend + 1 / size  # + 1/K: strengths keep their mean
        step = np.clip(np.linalg.solve(curvature, gradient[..., None])[..., 0], -1, 1)
        strengths = strengths + step
        if float(np.abs(step).max()) < 1e-10:
            break
    return strengths - strengths.mean(axis=-1, keepdims=True)


def connected(wins: np.ndarray) -> bool:
    """Whether every contestant was compared with every other one, directly or through others."""
    linked = (wins + wins.T) > 0
    reached = {0}
    while new := {int(other) for one in reached for other in np.flatnonzero(linked[one])} - reached:
        reached |= new
    return len(reached) == len(wins)


def sign_test(rated: Sequence[Rated]) -> tuple[int, int, int, float]:
    """Rows that the first wins, ties and loses, each one vote (the mean of its raters), and the exact two-sided p."""
    by_row: dict[str, list[float]] = {}
    for one in rated:
        by_row.setdefault(one.row, []).append(one.score)
    means = [sum(scores) / len(scores) for scores in by_row.values()]
    wins, losses = sum(mean > 0.5 + 1e-9 for mean in means), sum(mean < 0.5 - 1e-9 for mean in means)
    return wins, len(means) - wins - losses, losses, statistics.mcnemar(wins, losses)


def _preference(
    own: Sequence[Rated], estimate: float, drawn: np.ndarray, sizes: np.ndarray, drawn_evenly: bool
) -> Preference:
    from scipy.special import ndtr

    wins, ties, losses, p = sign_test(own)
    rows = wins + ties + losses
    if len({one.score for one in own}) == 1:  # resampling cannot move it
        plain = statistics.wilson(own[0].score * rows, rows)
        same = sizes[-1] / sizes.sum()
        low, high = (0.5 * same + (1 - same) * edge for edge in (plain.low, plain.high))
    else:
        reach = statistics.widened(0.95, rows)
        low, high = np.quantile(drawn, [float(ndtr(-reach)), float(ndtr(reach))])
    if not drawn_evenly:
        tails = min(np.count_nonzero(drawn <= 0.5 + 1e-12), np.count_nonzero(drawn >= 0.5 - 1e-12))
        p = min(1.0, max(2 * (tails + 1) / (len(drawn) + 1), 2.0 ** (1 - wins - losses)))
    share = Interval(estimate, float(min(low, estimate)), float(max(high, estimate)))
    test = "sign test" if drawn_evenly else "bootstrap"
    return Preference(share, float(drawn.std()), p, test, wins, ties, losses)


def _shares(rated: Sequence[Rated], sizes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The weighted share of each pair, and of each resample: [pairs], [RESAMPLES, pairs]; nan where none is known."""
    num_pairs, strata = sizes.shape[0], sizes.shape[1] - 1
    rows = {row: number for number, row in enumerate(sorted({one.row for one in rated}))}
    raters = {rater: number for number, rater in enumerate(sorted({one.rater for one in rated}))}
    if not rated:
        return np.full(num_pairs, np.nan), np.full((RESAMPLES, num_pairs), np.nan)
    score = np.array([one.score for one in rated])
    group = np.zeros((len(rated), num_pairs * strata))
    group[np.arange(len(rated)), [one.pair * strata + one.stratum for one in rated]] = 1
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (score @ group / group.sum(axis=0)).reshape(num_pairs, strata)
    draw = np.random.default_rng(seed)
    of_rows = draw.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES)
    of_raters = draw.multinomial(len(raters), np.full(len(raters), 1 / len(raters)), size=RESAMPLES)
    times = of_rows[:, [rows[one.row] for one in rated]] * of_raters[:, [raters[one.rater] for one in rated]]
    weight = (times @ group).reshape(RESAMPLES, num_pairs, strata)
    total = ((times * score) @ group).reshape(RESAMPLES, num_pairs, strata)
    moved = np.where(weight > 0, total / np.maximum(weight, 1), means)  # a stratum that was not drawn stays as it is
    resized = np.stack([draw.multinomial(int(one.sum()), one / one.sum(), size=RESAMPLES) for one in sizes], axis=1)
    return _weighted(means, sizes), _weighted(moved, resized.astype(float))


def _weighted(means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Strata's means by the sizes; the last size is of rows that are ties. A stratum without rows counts nothing."""
    inner = sizes[..., :-1]
    known = np.where(inner > 0, means * inner, 0.0).sum(axis=-1)
    return (known + 0.5 * sizes[..., -1]) / sizes.sum(axis=-1)


def _win_matrix(
    shares: np.ndarray, rows: np.ndarray, pairs: Sequence[tuple[int, int]], known: Sequence[int], contestants: int
) -> np.ndarray:
    """Wins as ratings of so many rows would give them at these shares: [..., K, K]."""
    wins = np.zeros((len(shares), contestants, contestants))
    for number in known:
        first, second = pairs[number]
        wins[:, first, second] += shares[:, number] * rows[number]
        wins[:, second, first] += (1 - shares[:, number]) * rows[number]
    return wins
