"""What would change a verdict: more rows, so many answers or labels put right, a guard's bound. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunewright.core import statistics
from tunewright.core.goal import Goal
from tunewright.core.report import GuardResult, Measure
from tunewright.core.statistics import MOST_ROWS

if TYPE_CHECKING:
    from tunewright.stages.verdict import Comparison, Measured

POWER = 0.8  # the chance that the rows asked for decide, if the truth is what was measured
HOW = "better answers, or test rows whose expected answer is wrong and gets corrected"


def changes(
    goal: Goal | None,
    measured: Sequence[Measured],
    comparisons: Sequence[Comparison],
    guards: Sequence[GuardResult],
    over: Sequence[str] = (),
) -> list[str]:
    """What would turn the verdict, or what a GO hangs on, each one sentence. comparisons: those that gate. over: what
    is over the budget.
    """
    found = [
        f"The guard {one.guard} {'is broken' if measure.state == 'broken' else 'is open'}: {measure.name} is "
        f"{measure.value:.4g}{_between(measure.low, measure.high)} and must be {measure.side} {measure.bound:g}"
        f"{_rows_to_tell(measure)}."
        for one in guards
        for measure in one.measures
        if measure.state in ("broken", "open")
    ]
    found += [
        f"The guard {one.guard} is open: nothing could be measured for {' and '.join(one.unmeasured)}."
        for one in guards
        if one.unmeasured
    ]
    found += [f"Within the budget it must come: {one}." for one in over]
    if goal is None:
        return found
    by_grader = {one.grader: one for one in measured}
    for bar in goal.bars:
        if bar.at_least is not None:
            found.append(_of_bar(by_grader[bar.grader], bar.at_least))
    level = goal.level / max(1, len(comparisons))
    return found + [_of_comparison(one, level, goal.level) for one in comparisons]


def rows_for_bar(measured: Measured, bar: float) -> int | None:
    """Rows after which the figure would be told from the bar; None when it is exactly there."""
    if measured.share:
        return statistics.rows_for_threshold(measured.value, bar, power=POWER)
    error = (measured.high - measured.low) / (2 * statistics.normal_quantile(0.975))
    return statistics.rows_for_error(measured.value - bar, error, measured.n, power=POWER)


def rows_for_win(one: Comparison, level: float) -> int | None:
    """Rows after which the difference would be told from -margin; None when it is exactly there."""
    if one.test == "mcnemar":
        win, loss = one.wins / one.n, one.losses / one.n
        return statistics.rows_for_pairs(win, loss, margin=one.margin, level=level, power=POWER)
    rows = statistics.rows_for_error(one.difference + one.margin, one.error, one.n, level=level, power=POWER)
    return None if rows is None else max(rows, math.ceil(_fewest(one, level) * one.n / _witnesses(one)))


def _witnesses(one: Comparison) -> int:
    return one.n if one.clusters is None else one.clusters


def _fewest(one: Comparison, level: float) -> int:
    """The fewest rows (or clusters) of which the bootstrap says anything at this level: p has a floor that they set."""
    differing = math.ceil(1 - math.log2(level))
    if not one.margin:
        return differing
    alike = math.ceil(math.log(level / 2) / math.log(1 - one.margin))
    return min(alike, differing) if one.difference > 0 else alike


def _rows_to_tell(measure: Measure) -> str:
    if measure.state == "open" and measure.need is None:
        return ", which more test rows alone do not tell"
    return f", with about {measure.need:,} more rows to tell" if 0 < (measure.need or 0) < MOST_ROWS else ""


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"


def _of_bar(one: Measured, bar: float) -> str:
    if not one.share:
        short = bar - one.low
        if short > 0:
            return f"The lower end of {one.grader} must rise by {short:.3f} to reach {bar:.3f}."
        return f"The lower end of {one.grader} is {-short:.3f} above {bar:.3f}; a fall by more would lose it."
    right = round(one.value * one.n)

    def reached(count: int) -> bool:
        return statistics.wilson(count, one.n).low >= bar

    if reached(right):
        spare = right - _first(reached, right)
        return f"{one.grader} reaches {bar:.3f} with {spare:,} right answers to spare of {one.n:,}."
    if not reached(one.n):
        z = statistics.normal_quantile(0.975)
        fewest = f"{math.ceil(z * z * bar / (1 - bar)):,} rows are the fewest" if bar < 1 else "no number of rows does"
        return f"Not even {one.n:,} right of {one.n:,} would show that {one.grader} reaches {bar:.3f}: {fewest}."
    more = _first(reached, one.n) - right
    return f"{more:,} more right answers of {one.n:,} ({HOW}) would bring {one.grader} to {bar:.3f}."


def _of_comparison(one: Comparison, level: float, whole: float) -> str:
    won = one.difference > -one.margin and one.p_holm <= whole
    what = f"{one.grader} against {one.against}"
    if one.test != "mcnemar" and _witnesses(one) < (fewest := _fewest(one, level)):
        units = "rows" if one.clusters is None else "clusters"
        return f"{what}: {_witnesses(one)} {units} are too few to tell; {fewest} are the fewest."
    if one.test != "mcnemar":
        least = statistics.normal_quantile(1 - level / 2) * one.error - one.margin
        return f"{what}: the difference is {one.difference:+.3f}; on these rows about {least:+.3f} is enough."
    wrong = one.n - round(one.tuned * one.n)

    def beats(more: int) -> bool:
        """With so many more answers right: those that the contestant has right first, they count most."""
        turned = min(more, one.losses) if more > 0 else 0
        wins, losses = one.wins + more - turned, one.losses - turned
        if one.margin:
            p = statistics.tango(wins, losses, one.n, one.margin)
        else:
            p = statistics.mcnemar(wins, losses)
        return (wins - losses) / one.n > -one.margin and p <= level

    if won:
        spare = next((fewer for fewer in range(one.wins) if not beats(-fewer - 1)), one.wins)
        return f"{what}: settled with about {spare:,} won rows to spare."
    if not beats(wrong):
        return f"{what}: not even right answers everywhere would settle it on {one.n:,} rows."
    more = _first(beats, wrong)
    return f"{what}: about {more:,} more right answers ({HOW}) would settle it."


def _first(holds: Callable[[int], bool], most: int) -> int:
    """The smallest count up to `most`, which holds, from which on it holds."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
