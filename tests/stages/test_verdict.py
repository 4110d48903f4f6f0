"""The verdict from invented figures: each of the three, its reason in words, and how often it is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tunewright.core.example import Example
from tunewright.core.goal import Goal
from tunewright.core.parts import Grader
from tunewright.core.report import UNSETTLED, Finding, GuardResult, Measure
from tunewright.core.statistics import MOST_ROWS, wilson
from tunewright.graders.exact import Exact
from tunewright.graders.rouge import Rouge
from tunewright.stages import grading
from tunewright.stages.verdict import Judgement, Measured, adjusted, judge

GOAL = Goal(grader="exact", at_least=0.8, beat=["base"])


def right(count: int, n: int) -> list[bool]:
    return [row < count for row in range(n)]


def verdict(
    tuned: list[bool],
    others: dict[str, list[bool]] | None = None,
    goal: Goal | None = GOAL,
    broken: tuple[str, ...] = (),
) -> Judgement:
    """The verdict on rows answered right or wrong."""
    examples = [Example(id=str(row), expected="yes") for row in range(len(tuned))]
    sheets = {
        name: grading.sheet(Exact(), examples, ["yes" if hit else "no" for hit in hits])
        for name, hits in {"tuned": tuned, **(others or {})}.items()
    }
    first = sheets.pop("tuned")
    assert first is not None
    comparisons = [grading.compare(first, other, name) for name, other in sheets.items() if other is not None]
    measured = grading.measure(first)
    assert measured is not None
    return judge(goal, [measured], adjusted(comparisons, goal), broken)


def test_go_when_the_lower_end_reaches_the_bar_and_the_contestant_is_beaten() -> None:
    found = verdict(right(90, 100), {"base": right(30, 100)})
    assert found.verdict == "GO"
    assert found.reason == (
        "exact is 0.900 (95 % interval 0.826 to 0.945, 100 test rows): its lower end reaches the 0.800 asked for, "
        "and it beats base by 0.600 (p < 0.0001)."
    )
    assert found.need is None


def test_no_go_when_even_the_upper_end_is_below_the_bar() -> None:
    found = verdict(right(60, 100), {"base": right(0, 100)})
    assert found.verdict == "NO-GO"
    assert found.reason.endswith("even the upper end is below the 0.800 asked for.")


def test_no_go_when_a_contestant_wins_named_or_not() -> None:
    for goal in (Goal(grader="exact", beat=["base"]), Goal(grader="exact", at_least=0.1)):
        found = verdict(right(50, 100), {"base": right(70, 100)}, goal)
        assert found.verdict == "NO-GO"
        assert "is beaten by base (0.700, p < 0.0001)" in found.reason


def test_no_go_when_a_proof_is_broken_whatever_the_figures() -> None:
    for goal in (GOAL, None):
        found = verdict(right(100, 100), {"base": right(0, 100)}, goal, broken=("merge",))
        assert found.verdict == "NO-GO"
        assert "'merge'" in found.reason


def test_need_more_names_what_is_open_and_how_many_rows_would_settle_it() -> None:
    found = verdict(right(84, 100), {"base": right(30, 100)})
    assert found.verdict == "NEED MORE"
    assert "still open: whether it reaches 0.800." in found.reason
    assert found.need is not None
    assert f"About {found.need} more test rows" in found.reason
    more = 100 + found.need
    assert verdict(right(round(0.84 * more), more), {"base": right(0, more)}).verdict == "GO"


def test_need_more_when_a_contestant_is_not_beaten_surely() -> None:
    hits = right(100, 100)
    found = verdict(hits, {"base": right(97, 100), "few_shot": right(60, 100)})
    assert found.verdict == "NEED MORE"
    assert "whether it beats base (+0.030, p = 0.2500)" in found.reason
    assert found.need is not None
    assert 50 < found.need < 1000


def test_figures_equal_to_the_bar_cannot_be_settled_by_rows() -> None:
    found = verdict(right(80, 100), {"base": right(0, 100)})
    assert (found.verdict, found.need) == ("NEED MORE", MOST_ROWS)
    assert "Not even 100,000 test rows" in found.reason
    same = verdict(right(95, 100), {"base": right(95, 100)})
    assert (same.verdict, same.need) == ("NEED MORE", MOST_ROWS)


def test_without_a_goal_everything_is_a_go() -> None:
    assert verdict(right(1, 100), {"base": right(90, 100)}, None).verdict == "GO"
    assert judge(None, [], []).verdict == "GO"


def test_several_contestants_are_judged_with_holms_correction() -> None:
    # 7 to 0 is p = 0.0156 alone; with two others not beaten it is not the strictest of three any more
    tuned = right(47, 50)
    others = {"base": right(40, 50), "few_shot": right(40, 50), "release": right(40, 50)}
    alone = verdict(tuned, {"base": others["base"]}, Goal(grader="exact", beat=["base"], level=0.02))
    assert alone.verdict == "GO"
    among = verdict(tuned, others, Goal(grader="exact", beat=list(others), level=0.02))
    assert among.verdict == "NEED MORE"


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
def test_a_model_that_is_just_not_good_enough_rarely_gets_a_go(share: float) -> None:
    """At the bar itself, the worst case: false GO at most as often as the level says."""
    generator = np.random.default_rng(0)
    goal = Goal(grader="exact", at_least=share)
    gos = sum(verdict((generator.random(60) < share).tolist(), goal=goal).verdict == "GO" for _ in range(400))
    assert gos / 400 <= goal.level


def test_a_model_no_better_than_its_base_rarely_gets_a_go() -> None:
    generator = np.random.default_rng(1)
    goal = Goal(grader="exact", beat=["base"])
    found = [
        verdict((generator.random(60) < 0.7).tolist(), {"base": (generator.random(60) < 0.7).tolist()}, goal).verdict
        for _ in range(400)
    ]
    assert found.count("GO") / 400 <= goal.level
    assert found.count("NO-GO") / 400 <= goal.level


def test_a_better_text_model_is_found_by_the_bootstrap_and_an_equal_one_is_not() -> None:
    examples = [Example(id=str(row), expected="one two three four five six") for row in range(60)]
    good = ["one two three four five" if row % 3 else "one two" for row in range(60)]
    poor = ["one two three" if row % 2 else "seven" for row in range(60)]
    grader = Rouge()
    goal = Goal(grader="rouge", at_least=0.6, beat=["base"])
    sheets = [grading.sheet(grader, examples, answers) for answers in (good, poor)]
    assert sheets[0] is not None
    assert sheets[1] is not None
    won = grading.compare(sheets[0], sheets[1], "base")
    assert (won.test, won.difference > 0, won.p < 0.001) == ("bootstrap", True, True)
    measured = grading.measure(sheets[0])
    assert measured is not None
    assert judge(goal, [measured], [won]).verdict == "GO"
    same = grading.compare(sheets[0], sheets[0], "base")
    assert same.p == 1
    assert judge(goal, [measured], [same]).verdict == "NEED MORE"


def test_a_text_grader_tells_how_many_rows_are_missing() -> None:
    generator = np.random.default_rng(3)
    examples = [Example(id=str(row), expected="a b c d e f g h") for row in range(40)]
    answers = [" ".join(["a", "b", "c", "d", "e", "f", "g", "h"][: int(size)]) for size in generator.integers(1, 9, 40)]
    one = grading.sheet(Rouge(), examples, answers)
    assert one is not None
    measured = grading.measure(one)
    assert measured is not None
    found = judge(Goal(grader="rouge", at_least=measured.value - 0.03), [measured], [])
    assert found.verdict == "NEED MORE"
    assert found.need is not None
    assert 40 < found.need < 2000


# --- grading ---


def test_fields_are_cut_on_both_sides_and_a_missing_one_is_wrong() -> None:
    grader: Grader = Exact(field="intent")
    expected = '{"intent": "Fraud Report", "response": "Please call."}'
    examples = [Example(id=str(row), expected=expected) for row in range(3)] + [Example(id="3", expected="no field")]
    one = grading.sheet(
        grader, examples, ['{"intent": "fraud report"}', "Intent: Fraud Report\nResponse: x", "Fraud Report", "x"]
    )
    assert one is not None
    assert one.rows == [0, 1, 2]
    assert [grade.score for grade in one.grades] == [1, 1, 0]
    assert one.grades[2].why == "the field 'intent' is missing"
    assert grading.sheet(Exact(field="colour"), examples, ["x"] * 4) is None


def test_slices_are_measured_on_their_own_rows() -> None:
    examples = [Example(id=str(row), expected="yes") for row in range(10)]
    one = grading.sheet(Exact(), examples, ["yes"] * 6 + ["no"] * 4)
    assert one is not None
    part = grading.measure(one, [4, 5, 6, 7])
    assert part is not None
    assert (part.value, part.n) == (0.5, 4)
    assert grading.measure(one, []) is None


def test_the_commonest_errors_come_first() -> None:
    examples = [Example(id=f"r{row}", expected=text) for row, text in enumerate(["a", "a", "a", "b", "b"])]
    one = grading.sheet(Exact(), examples, ["a", "c", "c", "a", "b"])
    assert one is not None
    assert grading.errors(one) == [
        {"expected": "a", "got": "c", "n": 2, "example": "r1"},
        {"expected": "b", "got": "a", "n": 1, "example": "r3"},
    ]


def test_samples_show_wins_losses_and_both() -> None:
    def row(number: int, tuned: float, base: float) -> dict[str, object]:
        grades = {"tuned": {"exact": tuned}, "base": {"exact": base}}
        return {"id": f"{number}", "prompt": "p", "expected": "e", "slice": None, "answers": {}, "grades": grades}

    scores = [(1.0, 0.0)] * 20 + [(0.0, 1.0)] * 5 + [(0.0, 0.0)] * 5 + [(1.0, 1.0)] * 20
    table = [row(number, *pair) for number, pair in enumerate(scores)]
    found = grading.samples(table, "exact")
    kinds = [(one["scores"]["tuned"], one["scores"]["base"]) for one in found]
    assert len(found) == 12
    assert [kinds.count(kind) for kind in [(1, 0), (0, 1), (0, 0), (1, 1)]] == [6, 3, 2, 1]
    assert len(grading.samples(table[:3], "exact")) == 3


def test_the_worked_example_of_the_documentation_is_real() -> None:
    base = [row < 60 for row in range(200)]
    few_shot = [row < 120 or 170 <= row < 176 for row in range(200)]
    goal = Goal(grader="exact", at_least=0.8, beat=["base", "few_shot"])
    found = verdict(right(170, 200), {"base": base, "few_shot": few_shot}, goal)
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text()
    quoted = " ".join(line.removeprefix("> ") for line in page.splitlines() if line.startswith("> "))
    assert found.reason == quoted
    assert (found.verdict, found.need) == ("NEED MORE", 271)


def test_a_model_over_the_budget_is_no_go_whatever_it_reaches() -> None:
    over = ["latency_p95 is 0.7, at most 0.5 asked for"]
    figure = Measured("exact", 0.9, 0.85, 0.94, 200, share=True)
    for goal in (Goal(grader="exact", at_least=0.8), None):
        assert judge(goal, [figure], []).verdict == "GO"
        found = judge(goal, [figure], [], over=over)
        assert found.verdict == "NO-GO" and "over the budget: latency_p95 is 0.7" in found.reason


def guarded(*, need: int | None, remedy: str | None = None) -> GuardResult:
    """A guard whose only bound lies inside the interval."""
    open_one = Measure(name="lost", value=0.05, low=-0.02, high=0.12, n=60, bound=0.1, need=need)
    found = [Finding(name=UNSETTLED, message="About 400 items would tell.", remedy=remedy)] if remedy else []
    return GuardResult(guard="forgetting", question="?", measures=[open_one], findings=found)


def judged(n: int, *guards: GuardResult) -> Judgement:
    given = Measured("exact", *_interval(round(0.9 * n), n), n, True)
    return judge(Goal(grader="exact", at_least=0.8), [given], [], guards=guards)


def _interval(count: int, n: int) -> tuple[float, float, float]:
    found = wilson(count, n)
    return found.value, found.low, found.high


def test_an_open_bound_on_a_fixed_set_asks_for_no_test_rows() -> None:
    found = judged(1000, guarded(need=None, remedy="Name larger suites."))
    assert (found.verdict, found.need) == ("NEED MORE", None)
    assert "test rows would settle" not in found.reason
    assert found.reason.endswith("More test rows alone do not settle the guard forgetting: name larger suites.")


def test_rows_are_asked_for_beside_what_they_do_not_settle() -> None:
    found = judged(40, guarded(need=None))
    assert found.need is not None and 1 < found.need < 1000
    assert "do not settle the guard forgetting" in found.reason
    assert f"About {found.need} more test rows would settle the rest" in found.reason


def test_an_open_bound_on_test_rows_asks_for_them() -> None:
    found = judged(1000, guarded(need=70))
    assert found.need == 70
    assert "do not settle" not in found.reason


def test_a_bound_for_which_nothing_was_measured_stays_open() -> None:
    given = GuardResult(guard="fairness", question="?", unmeasured=["gap", "odds"])
    assert given.state == "open"
    for found in (judged(1000, given), judge(None, [Measured("exact", 0.9, 0.8, 1.0, 50, True)], [], guards=[given])):
        assert (found.verdict, found.need) == ("NEED MORE", None)
        assert "the guard fairness (nothing could be measured for gap and odds: its findings say why)" in found.reason
        assert found.changes[0] == "The guard fairness is open: nothing could be measured for gap and odds."


def test_a_guard_is_named_once_whatever_its_bounds() -> None:
    lost = [Measure(name=name, value=0.3, low=0.2, high=0.4, bound=0.1) for name in ("questions", "instructions")]
    leaked = Measure(name="secrets given away", value=6, bound=0)
    guards = [
        GuardResult(guard="forgetting", question="?", measures=lost),
        GuardResult(guard="memorisation", question="?", measures=[leaked]),
    ]
    found = judged(100, *guards)
    assert found.verdict == "NO-GO"
    assert found.reason.endswith(
        "but guards do not hold: forgetting (questions is 0.300, 0.200 to 0.400, at most 0.100 asked for; instructions "
        "is 0.300, 0.200 to 0.400, at most 0.100 asked for) and memorisation (secrets given away: 6, at most 0 asked "
        "for)."
    )
