"""Planted cases get the right verdict, and models that are no better rarely get a GO."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tunewright.core import statistics
from tunewright.core.goal import Bar, Goal
from tunewright.core.report import GuardResult, Measure
from tunewright.stages.verdict import Comparison, Judgement, Measured, adjusted, judge

BEAT = Goal(grader="exact", beat=["base"])


def measured(right: int, n: int, grader: str = "exact") -> Measured:
    found = statistics.wilson(right, n)
    return Measured(grader, found.value, found.low, found.high, n, share=True)


def compared(
    both: int, wins: int, losses: int, n: int, *, margin: float = 0.0, against: str = "base", grader: str = "exact"
) -> Comparison:
    found = statistics.paired_shares(both, wins, losses, n - both - wins - losses, margin=margin)
    return Comparison(
        grader=grader, against=against, tuned=(both + wins) / n, other=(both + losses) / n, difference=found.value,
        low=found.low, high=found.high, p=found.p, p_holm=found.p, test="mcnemar", wins=wins, losses=losses, n=n,
        error=found.error, margin=margin,
    )  # fmt: skip


def verdict(both: int, wins: int, losses: int, n: int, goal: Goal = BEAT, *guards: GuardResult) -> Judgement:
    pair = compared(both, wins, losses, n, margin=goal.margin)
    return judge(goal, [measured(both + wins, n)], adjusted([pair], goal), guards=guards)


def guard(name: str, value: float, low: float, high: float, bound: float) -> GuardResult:
    return GuardResult(
        guard=name, question="?", measures=[Measure(name="it", value=value, low=low, high=high, bound=bound)]
    )


def test_a_worse_model_is_a_no_go() -> None:
    assert verdict(100, 10, 40, 200).verdict == "NO-GO"


def test_an_equal_model_is_not_settled_and_no_rows_settle_it() -> None:
    found = verdict(140, 15, 15, 200)
    assert (found.verdict, found.need) == ("NEED MORE", 100_000)


@pytest.mark.parametrize(("n", "expected"), [(50, "NEED MORE"), (400, "GO")])
def test_ten_points_better_is_settled_by_400_rows_and_not_by_50(n: int, expected: str) -> None:
    """Right where the base is wrong on 15 of 100 rows, wrong where it is right on 5."""
    wins, losses = round(0.15 * n), round(0.05 * n)
    found = verdict(round(0.7 * n), wins, losses, n)
    assert found.verdict == expected
    if expected == "NEED MORE":
        assert found.need is not None
        assert 50 < found.need < 250  # 155 altogether


@pytest.mark.parametrize("name", ["forgetting", "memorisation", "fairness"])
def test_a_better_model_that_breaks_a_guard_is_a_no_go(name: str) -> None:
    """Better but forgetful, better but leaking, better but unfair."""
    found = verdict(280, 60, 20, 400, BEAT, guard(name, 0.3, 0.2, 0.4, bound=0.1))
    assert found.verdict == "NO-GO"
    assert f"a guard does not hold: {name}" in found.reason
    assert any(f"The guard {name} is broken" in one for one in found.changes)


def test_a_better_model_whose_guard_is_open_needs_more_and_one_that_is_sound_goes() -> None:
    assert verdict(280, 60, 20, 400, BEAT, guard("fairness", 0.08, 0.02, 0.15, bound=0.1)).verdict == "NEED MORE"
    assert verdict(280, 60, 20, 400, BEAT, guard("fairness", 0.02, 0.0, 0.05, bound=0.1)).verdict == "GO"


# --- a margin ---


def test_with_a_margin_near_enough_is_enough_and_lower_by_more_is_not() -> None:
    goal = Goal(grader="exact", beat=["base"], margin=0.05)
    near = verdict(350, 10, 12, 400, goal)
    assert near.verdict == "GO"
    assert "it is not lower than base by 0.05 (-0.005, p =" in near.reason
    assert verdict(35, 1, 1, 40, goal).verdict == "NEED MORE"
    lower = verdict(250, 10, 70, 400, goal)
    assert lower.verdict == "NO-GO"
    assert "is lower than base by more than 0.05" in lower.reason
    surely_lower_by_less = verdict(360, 1, 9, 400, goal)  # 2 points lower, for sure, and that is allowed
    assert surely_lower_by_less.verdict == "GO"


# --- several bars ---


def test_every_bar_must_be_reached_and_the_sentence_names_each() -> None:
    goal = Goal(
        grader="exact", beat=["base"], also=[Bar(grader="format", at_least=0.9), Bar(grader="tone", beat=["base"])]
    )
    pairs = [compared(280, 60, 20, 400), compared(200, 90, 10, 400, grader="tone")]
    figures = [measured(340, 400), measured(390, 400, "format"), measured(290, 400, "tone")]
    found = judge(goal, figures, adjusted(pairs, goal))
    assert found.verdict == "GO"
    assert found.reason == (
        "exact is 0.850 (95 % interval 0.812 to 0.882, 400 test rows): it beats base by 0.100 (p < 0.0001); "
        "format is 0.975 (95 % interval 0.955 to 0.986, 400 test rows): its lower end reaches the 0.900 asked for; "
        "tone is 0.725 (95 % interval 0.679 to 0.766, 400 test rows): it beats base by 0.200 (p < 0.0001)."
    )
    figures[1] = measured(370, 400, "format")
    found = judge(goal, figures, adjusted(pairs, goal))
    assert found.verdict == "NEED MORE"
    assert "still open: whether format reaches 0.900." in found.reason
    figures[1] = measured(300, 400, "format")
    found = judge(goal, figures, adjusted(pairs, goal))
    assert found.verdict == "NO-GO"
    assert "even the upper end of format is below the 0.900 asked for" in found.reason


def test_holms_correction_runs_over_all_that_gates_whatever_the_grader() -> None:
    pairs = [compared(30, 7, 0, 50), compared(30, 7, 0, 50, grader="tone"), compared(30, 7, 0, 50, grader="other")]
    goal = Goal(grader="exact", beat=["base"], also=[Bar(grader="tone", beat=["base"])])
    alone = pairs[0].p
    assert [one.p_holm for one in adjusted(pairs, goal)] == pytest.approx([2 * alone, 2 * alone, alone])
    assert [one.p_holm for one in adjusted(pairs, BEAT)] == pytest.approx([alone] * 3)


# --- what would change it ---


def test_it_tells_how_many_more_right_answers_would_turn_it() -> None:
    goal = Goal(grader="exact", at_least=0.8)
    found = judge(goal, [measured(84, 100)], [])
    assert found.verdict == "NEED MORE"
    assert found.changes[0].startswith("4 more right answers of 100 (")
    assert judge(goal, [measured(88, 100)], []).verdict == "GO"
    assert judge(goal, [measured(87, 100)], []).verdict == "NEED MORE"
    assert judge(goal, [measured(90, 100)], []).changes == ["exact reaches 0.800 with 2 right answers to spare of 100."]
    few = judge(Goal(grader="exact", at_least=0.95), [measured(30, 30)], [])
    assert few.changes == ["Not even 30 right of 30 would show that exact reaches 0.950: 73 rows are the fewest."]
    assert judge(Goal(grader="exact", at_least=0.95), [measured(73, 73)], []).verdict == "GO"


def test_it_tells_how_many_won_rows_are_missing_or_to_spare() -> None:
    missing = verdict(70, 8, 4, 100)
    assert missing.verdict == "NEED MORE"
    assert missing.changes[0].startswith("exact against base: about 3 more right answers")
    assert verdict(73, 8, 1, 100).verdict == "GO"  # three lost rows put right
    assert verdict(72, 8, 2, 100).verdict == "NEED MORE"
    assert verdict(70, 10, 1, 100).changes == ["exact against base: settled with about 2 won rows to spare."]
    assert verdict(70, 8, 1, 100).verdict == "GO"
    assert verdict(70, 7, 1, 100).verdict == "NEED MORE"


def test_few_clusters_tell_nothing_and_the_rows_asked_for_are_of_more() -> None:
    pair = replace(compared(5, 9, 0, 16), test="cluster bootstrap", clusters=4, p=0.125, p_holm=0.125, error=0.06)
    found = judge(BEAT, [replace(measured(14, 16), share=False)], [pair])
    assert (found.verdict, found.need) == ("NEED MORE", 8)  # four rows a cluster, six clusters
    assert found.changes == ["exact against base: 4 clusters are too few to tell; 6 are the fewest."]


# --- how often it is wrong ---


@pytest.mark.parametrize(
    ("n", "share", "discordant"), [(50, 0.7, 0.2), (100, 0.8, 0.1), (200, 0.9, 0.1), (400, 0.7, 0.4)]
)
def test_an_equal_model_gets_a_go_no_oftener_than_the_level(n: int, share: float, discordant: float) -> None:
    """3,000 test sets each. A bar set where both are adds nothing to it; several contestants do not either."""
    half = discordant / 2
    draws = np.random.default_rng(n).multinomial(n, [share - half, half, half, 1 - share - half], size=3_000)
    kinds, times = np.unique(draws, axis=0, return_counts=True)
    found = {"GO": 0, "NO-GO": 0, "NEED MORE": 0}
    for (both, wins, losses, _), count in zip(kinds.tolist(), times.tolist(), strict=True):
        found[verdict(both, wins, losses, n).verdict] += count
    assert found["GO"] / 3_000 <= BEAT.level / 2
    assert found["NO-GO"] / 3_000 <= BEAT.level / 2


def test_with_three_bars_of_models_that_are_equal_a_single_false_win_is_rare() -> None:
    """Holm over three graders: the chance that any of them is called won stays below the level."""
    goal = Goal(grader="a", beat=["base"], also=[Bar(grader="b", beat=["base"]), Bar(grader="c", beat=["base"])])
    draws = np.random.default_rng(1).multinomial(150, [0.6, 0.15, 0.15, 0.1], size=(2000, 3))
    known = {(wins, losses): statistics.mcnemar(wins, losses) for _, wins, losses, _ in draws.reshape(-1, 4).tolist()}
    any_won = sum(
        any(p <= goal.level and wins > losses for p, (_, wins, losses, _) in zip(holm, row, strict=True))
        for row in draws.tolist()
        for holm in [statistics.holm([known[wins, losses] for _, wins, losses, _ in row])]
    )
    assert any_won / 2000 <= goal.level
    pairs = [compared(*draws[0, place, :3].tolist(), 150, grader=name) for place, name in enumerate("abc")]
    assert [one.p_holm for one in adjusted(pairs, goal)] == pytest.approx(
        statistics.holm([known[one.wins, one.losses] for one in pairs])
    )
