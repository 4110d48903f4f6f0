"""The verdict as a pure function of figures: GO, NO-GO, or NEED n MORE test examples, with the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tunewright.core import statistics
from tunewright.core.goal import Goal
from tunewright.core.report import UNSETTLED, GuardResult, Measure, State, Verdict
from tunewright.core.statistics import MOST_ROWS
from tunewright.stages import turning
from tunewright.stages.turning import POWER


@dataclass(frozen=True)
class Measured:
    """The tuned model's figure by a grader. `share`: the mean of right-or-wrong grades of rows that are independent."""

    grader: str
    value: float
    low: float
    high: float
    n: int
    share: bool


@dataclass(frozen=True)
class Comparison:
    """Tuned against one contestant by one grader, on the same rows. wins: rows on which tuned was graded higher.

    p: two-sided, of "the difference is -margin"; a margin above 0 asks only that tuned is not lower by so much.
    clusters: how many there are where whole clusters were drawn.
    """

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
    margin: float = 0.0
    clusters: int | None = None

    def won(self, level: float) -> bool:
        """Whether tuned is above -margin for sure."""
        return self.difference > -self.margin and self.p_holm <= level

    def lost(self, level: float) -> bool:
        """Whether tuned is below -margin for sure."""
        return self.difference < -self.margin and self.p_holm <= level


@dataclass(frozen=True)
class Judgement:
    """The verdict, its reason, for NEED MORE how many test rows are missing (None where they settle nothing), and
    what would change it.
    """

    verdict: Verdict
    reason: str
    need: int | None = None
    changes: list[str] = field(default_factory=list)


def adjusted(comparisons: Sequence[Comparison], goal: Goal | None) -> list[Comparison]:
    """The comparisons with Holm's p: over all that gate, whatever their grader; over the others of the goal's graders;
    and over those of each grader that decides nothing.
    """

    def family(one: Comparison) -> str:
        if goal is None or one.grader not in goal.graders:
            return f"beside: {one.grader}"
        return "others" if goal.margin_of(one.grader, one.against) is None else "gate"

    found: list[Comparison] = list(comparisons)
    for name in {family(one) for one in comparisons}:
        places = [place for place, one in enumerate(comparisons) if family(one) == name]
        for place, p in zip(places, statistics.holm([comparisons[place].p for place in places]), strict=True):
            found[place] = replace(comparisons[place], p_holm=p)
    return found


def judge(
    goal: Goal | None,
    measured: Sequence[Measured],
    comparisons: Sequence[Comparison],
    broken: Sequence[str] = (),
    guards: Sequence[GuardResult] = (),
    over: Sequence[str] = (),
) -> Judgement:
    """The verdict. measured: by each of the goal's graders, the first one first; of one grader without a goal; none
    when nothing could be graded then. comparisons: adjusted, of any grader. broken: names of proofs that do not hold.
    over: what is over the budget.

    Without a goal every result is a GO, unless a proof is broken, a guard's bound does not hold or the budget is
    exceeded.
    """
    if broken:
        names = ", ".join(f"'{name}'" for name in broken)
        what = "A proof is" if len(broken) == 1 else "Proofs are"
        reason = f"{what} broken: {names}. No figure can be trusted before that is mended."
        return Judgement("NO-GO", reason, changes=[f"Only a training whose proofs hold changes it: {names}."])
    if not measured:
        assert goal is None, "a goal is judged by what was measured"
        return Judgement("GO", "Nothing was graded, and the recipe sets no goal.")
    deciding = [] if goal is None else [one for one in comparisons if one.grader in goal.graders]
    named = [] if goal is None else [one for one in deciding if goal.margin_of(one.grader, one.against) is not None]
    several = len(measured) > 1
    figure = " and ".join(_figure(one) for one in measured)
    lost = [] if goal is None else [one for one in deciding if one.lost(goal.level)]
    turns = turning.changes(goal, measured, [*named, *(one for one in lost if one not in named)], guards, over)
    if no := _refusal(goal, measured, lost, guards, over):
        return Judgement("NO-GO", f"{figure}{no}.", changes=turns)
    open_guards = [one for one in guards if one.state == "open"]
    if goal is None and not open_guards:
        return Judgement("GO", f"{figure}; the recipe sets no goal to hold it against.")
    open_questions: list[str] = []
    rows: list[int] = []
    for one, bar in _bars(goal, measured):
        if one.low < bar:
            open_questions.append(f"whether {one.grader if several else 'it'} reaches {bar:.3f}")
            rows.append(_missing(turning.rows_for_bar(one, bar), one.n))
    for pair in named:
        if goal is not None and not pair.won(goal.level):
            open_questions.append(f"whether it {_asked(pair, several)} ({pair.difference:+.3f}, {_p(pair)})")
            rows.append(_missing(turning.rows_for_win(pair, goal.level / len(named)), pair.n))
    open_questions += [f"the guard {one}" for one in _by_guard(open_guards, "open")]
    asked = [one.need for guard in open_guards for one in guard.measures if one.state == "open"]
    rows += [min(MOST_ROWS, need) for need in asked if need is not None]
    if not open_questions:
        assert goal is not None
        return Judgement("GO", f"{_reached(goal, measured, named)}.", changes=turns)
    need = max(rows, default=None)
    words = f"{figure}; still open: {' and '.join(open_questions)}.{_settling(open_guards, need)}"
    return Judgement("NEED MORE", words, need, turns)


def _settling(guards: Sequence[GuardResult], need: int | None) -> str:
    """What settles it. guards: those that are open. need: rows that all else asks for."""
    fixed = [one for one in guards if any(bound.state == "open" and bound.need is None for bound in one.measures)]
    words = "".join(f" {_settled_otherwise(one)}" for one in fixed)
    rest = "the rest" if fixed or any(one.unmeasured for one in guards) else "it"
    if need is None:
        return words
    if need >= MOST_ROWS:
        words += (
            f" Not even {MOST_ROWS:,} test rows would settle {rest}, so near are the figures: change the goal or the"
        )
        return f"{words} model."
    return f"{words} About {need:,} more test rows would settle {rest} (with a chance of {POWER:.0%})."


def _settled_otherwise(guard: GuardResult) -> str:
    """What settles the bounds of a guard that asks a set of its own."""
    remedies = (one.remedy for one in guard.findings if one.name == UNSETTLED and one.remedy)
    remedy = next(remedies, "Ask it more, or change the bound.")
    return f"More test rows alone do not settle the guard {guard.guard}: {remedy[0].lower()}{remedy[1:]}"


def _refusal(
    goal: Goal | None,
    measured: Sequence[Measured],
    lost: Sequence[Comparison],
    guards: Sequence[GuardResult],
    over: Sequence[str],
) -> str:
    """Why it is a NO-GO, behind the figures; empty when it is none."""
    if fallen := _by_guard(guards, "broken"):
        return f", but {'a guard does' if len(fallen) == 1 else 'guards do'} not hold: {' and '.join(fallen)}"
    if over:
        return f", but over the budget: {' and '.join(over)}"
    several = len(measured) > 1
    if below := [(one, bar) for one, bar in _bars(goal, measured) if one.high < bar]:
        return ": even the " + " and the ".join(
            f"upper end{f' of {one.grader}' if several else ''} is below the {bar:.3f} asked for" for one, bar in below
        )
    beaten = " and ".join(f"{_beside(one, several)} ({one.other:.3f}, {_p(one)})" for one in lost if not one.margin)
    lower = " and ".join(
        f"{_beside(one, several)} by more than {one.margin:g} ({one.other:.3f}, {_p(one)})"
        for one in lost
        if one.margin
    )
    parts = [f"is beaten by {beaten}"] * bool(beaten) + [f"is lower than {lower}"] * bool(lower)
    return f", and {' and '.join(parts)}" if parts else ""


def _bars(goal: Goal | None, measured: Sequence[Measured]) -> list[tuple[Measured, float]]:
    """What was measured with the value that it must reach."""
    by_grader = {one.grader: one for one in measured}
    bars = [] if goal is None else goal.bars
    return [(by_grader[bar.grader], bar.at_least) for bar in bars if bar.at_least is not None]


def _figure(one: Measured) -> str:
    return f"{one.grader} is {one.value:.3f} (95 % interval {one.low:.3f} to {one.high:.3f}, {one.n} test rows)"


def doubted(judgement: Judgement, doubts: Sequence[str]) -> Judgement:
    """The judgement of figures that must not decide, for these reasons: a GO becomes a NEED MORE without a number."""
    if not doubts:
        return judgement
    reason = f"{judgement.reason} But these figures must not decide: {' '.join(doubts)}"
    return Judgement("NEED MORE" if judgement.verdict == "GO" else judgement.verdict, reason, judgement.need)


def _by_guard(guards: Sequence[GuardResult], state: State) -> list[str]:
    """Each guard with what was measured and is in this state; where that is open, with what could not be measured."""
    told = {one.guard: [_held(measure) for measure in one.measures if measure.state == state] for one in guards}
    for one in guards:
        if state == "open" and one.unmeasured:
            bounds = " and ".join(one.unmeasured)
            told[one.guard].append(f"nothing could be measured for {bounds}: its findings say why")
    return [f"{name} ({'; '.join(held)})" for name, held in told.items() if held]


def _held(measure: Measure) -> str:
    if measure.low is None:  # a count, such as secrets given away
        return f"{measure.name}: {measure.value:g}, {measure.side} {measure.bound:g} asked for"
    interval = f"{measure.low:.3f} to {measure.high:.3f}"
    return f"{measure.name} is {measure.value:.3f}, {interval}, {measure.side} {measure.bound:.3f} asked for"


def _beside(one: Comparison, several: bool) -> str:
    return f"{one.against} on {one.grader}" if several else one.against


def _asked(one: Comparison, several: bool) -> str:
    """What a bar asks of a comparison, in words."""
    if one.margin:
        return f"is lower than {_beside(one, several)} by less than {one.margin:g}"
    return f"beats {_beside(one, several)}"


def _reached(goal: Goal, measured: Sequence[Measured], named: Sequence[Comparison]) -> str:
    """Each grader's figure with the bars that it reached."""
    sentences = []
    for one in measured:
        bars = [bar for bar in goal.bars if bar.grader == one.grader]
        parts = [f"its lower end reaches the {bar.at_least:.3f} asked for" for bar in bars if bar.at_least is not None]
        pairs = [pair for pair in named if pair.grader == one.grader]
        if won := [f"{pair.against} by {pair.difference:.3f} ({_p(pair)})" for pair in pairs if not pair.margin]:
            parts.append(f"it beats {' and '.join(won)}")
        parts += [
            f"it is not lower than {pair.against} by {pair.margin:g} ({pair.difference:+.3f}, {_p(pair)})"
            for pair in pairs
            if pair.margin
        ]
        sentences.append(f"{_figure(one)}{': ' if parts else ''}{', and '.join(parts)}")
    return "; ".join(sentences)


def _missing(total: int | None, n: int) -> int:
    return MOST_ROWS if total is None else min(MOST_ROWS, max(1, total - n))


def _p(one: Comparison) -> str:
    return "p < 0.0001" if one.p_holm < 0.0001 else f"p = {one.p_holm:.4f}"
