"""The verdict as a pure function of figures: GO, NO-GO, or NEED n MORE test examples, with the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunewright.core import statistics
from tunewright.core.recipe import Goal
from tunewright.core.report import GuardResult, Measure, Verdict

MOST = 100_000  # more rows than this are not worth asking for; the sentence says so
POWER = 0.8  # the chance that the rows asked for decide, if the truth is what was measured


@dataclass(frozen=True)
class Measured:
    """The tuned model's figure by the goal's grader. `share`: the mean of right-or-wrong grades."""

    grader: str
    value: float
    low: float
    high: float
    n: int
    share: bool


@dataclass(frozen=True)
class Comparison:
    """Tuned against one contestant by one grader, on the same rows. wins: rows on which tuned was graded higher."""

    grader: str
    against: str
    tuned: float
    other: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    test: str
    wins: int
    losses: int
    n: int
    error: float


@dataclass(frozen=True)
class Judgement:
    """The verdict, its reason, and for NEED MORE how many test rows are missing."""

    verdict: Verdict
    reason: str
    need: int | None = None


def adjusted(comparisons: Sequence[Comparison], beat: Sequence[str]) -> list[Comparison]:
    """The comparisons of one grader with Holm's p: over the contestants that must be beaten, and over the others."""
    found = {}
    for family in (
        [comparison for comparison in comparisons if comparison.against in beat],
        [comparison for comparison in comparisons if comparison.against not in beat],
    ):
        for comparison, p in zip(family, statistics.holm([one.p for one in family]), strict=True):
            found[comparison.against] = replace(comparison, p_holm=p)
    return [found[comparison.against] for comparison in comparisons]


def judge(
    goal: Goal | None,
    measured: Measured | None,
    comparisons: Sequence[Comparison],
    broken: Sequence[str] = (),
    guards: Sequence[GuardResult] = (),
    over: Sequence[str] = (),
) -> Judgement:
    """The verdict. comparisons: by the goal's grader, adjusted. broken: names of proofs that do not hold. over: what is
    over the budget. Without a goal every result is a GO, unless a proof is broken, a guard's bound does not hold or the
    budget is exceeded; measured is None when nothing could be graded then.
    """
    if broken:
        names = ", ".join(f"'{name}'" for name in broken)
        what = "A proof is" if len(broken) == 1 else "Proofs are"
        return Judgement("NO-GO", f"{what} broken: {names}. No figure can be trusted before that is mended.")
    if measured is None:
        assert goal is None, "a goal is judged by what was measured"
        return Judgement("GO", "Nothing was graded, and the recipe sets no goal.")
    interval = f"95 % interval {measured.low:.3f} to {measured.high:.3f}, {measured.n} test rows"
    figure = f"{measured.grader} is {measured.value:.3f} ({interval})"
    if fallen := [(one.guard, measure) for one in guards for measure in one.measures if measure.state == "broken"]:
        which = " and ".join(f"{name} ({_held(measure)})" for name, measure in fallen)
        return Judgement("NO-GO", f"{figure}, but a guard does not hold: {which}.")
    if over:
        return Judgement("NO-GO", f"{figure}, but over the budget: {' and '.join(over)}.")
    unsettled = [(one.guard, measure) for one in guards for measure in one.measures if measure.state == "open"]
    if goal is None and not unsettled:
        return Judgement("GO", f"{figure}; the recipe sets no goal to hold it against.")
    if goal is not None and goal.at_least is not None and measured.high < goal.at_least:
        return Judgement("NO-GO", f"{figure}: even the upper end is below the {goal.at_least:.3f} asked for.")
    level = goal.level if goal else 0.0
    lost = [one for one in comparisons if one.difference < 0 and one.p_holm <= level]
    if lost:
        which = " and ".join(f"{one.against} ({one.other:.3f}, {_p(one)})" for one in lost)
        return Judgement("NO-GO", f"{figure}, and is beaten by {which}.")
    open_questions: list[str] = []
    rows: list[int | None] = []
    if goal is not None and goal.at_least is not None and measured.low < goal.at_least:
        open_questions.append(f"whether it reaches {goal.at_least:.3f}")
        rows.append(_rows_for_bar(measured, goal.at_least))
    named = [one for one in comparisons if goal is not None and one.against in goal.beat]
    for one in named:
        if not (one.difference > 0 and one.p_holm <= level):
            open_questions.append(f"whether it beats {one.against} ({one.difference:+.3f}, {_p(one)})")
            rows.append(_rows_for_win(one, level / len(named)))
    for name, measure in unsettled:
        open_questions.append(f"whether the guard {name} holds ({_held(measure)})")
        rows.append(measured.n + (measure.need or 1))
    if not open_questions:
        assert goal is not None
        return Judgement("GO", f"{figure}{_reached(goal, named)}.")
    need = max(_missing(total, measured.n) for total in rows)
    words = f"{figure}; still open: {' and '.join(open_questions)}. "
    if need >= MOST:
        words += f"Not even {MOST:,} test rows would settle it, so near are the figures: change the goal or the model."
    else:
        words += f"About {need:,} more test rows would settle it (with a chance of {POWER:.0%})."
    return Judgement("NEED MORE", words, need)


def _held(measure: Measure) -> str:
    interval = "" if measure.low is None else f", {measure.low:.3f} to {measure.high:.3f}"
    return f"{measure.name} is {measure.value:.3f}{interval}; {measure.side} {measure.bound:.3f} asked for"


def _reached(goal: Goal, named: Sequence[Comparison]) -> str:
    parts = []
    if goal.at_least is not None:
        parts.append(f"its lower end reaches the {goal.at_least:.3f} asked for")
    if named:
        parts.append("it beats " + " and ".join(f"{one.against} by {one.difference:.3f} ({_p(one)})" for one in named))
    return ": " + ", and ".join(parts)


def _rows_for_bar(measured: Measured, bar: float) -> int | None:
    if measured.share:
        return statistics.rows_for_threshold(measured.value, bar, power=POWER)
    error = (measured.high - measured.low) / (2 * statistics.normal_quantile(0.975))
    return statistics.rows_for_error(measured.value - bar, error, measured.n, power=POWER)


def _rows_for_win(one: Comparison, level: float) -> int | None:
    if one.test == "mcnemar":
        return statistics.rows_for_pairs(one.wins / one.n, one.losses / one.n, level=level, power=POWER)
    return statistics.rows_for_error(one.difference, one.error, one.n, level=level, power=POWER)


def _missing(total: int | None, n: int) -> int:
    return MOST if total is None else min(MOST, max(1, total - n))


def _p(one: Comparison) -> str:
    return "p < 0.0001" if one.p_holm < 0.0001 else f"p = {one.p_holm:.4f}"
