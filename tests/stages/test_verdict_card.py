"""The page's lines say what was asked for and whether it holds; its figures are where they belong."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core.report import GuardResult, Measure, Report
from tunewright.stages import contest, plotting
from tunewright.stages.verdict_card import lines, tables, verdict_card


def judged(low: float, high: float, **more: Any) -> Report:
    figure = {"value": (low + high) / 2, "low": low, "high": high, "n": 100}
    one = {"grader": "exact", "low": -0.1, "high": 0.1, "p_holm": 0.5, "difference": 0.0}
    comparisons = [
        one | {"against": "base", "difference": 0.3, "p_holm": 0.001},
        one | {"against": "few_shot", "difference": 0.01},
        one | {"against": "release", "difference": -0.2, "p_holm": 0.002},
        one | {"against": "unasked", "difference": -0.01},
    ]
    goal = {"grader": "exact", "at_least": 0.8, "beat": ["base", "few_shot"], "level": 0.05}
    return Report(
        stage="evaluate",
        run="r",
        contestants={"tuned": {"exact": figure, "latency_p95": 0.4, **more}},
        numbers={"goal": goal, "comparisons": comparisons, "budget": {"latency": 0.3, "cost_per_1000": 2.0}},
        guards=[GuardResult(guard="g", question="?", measures=[
            Measure(name="a", value=0.1, low=0.0, high=0.15, bound=0.2), Measure(name="told", value=3.0)])],
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high", "state"), [(0.8, 0.9, "holds"), (0.7, 0.85, "open"), (0.6, 0.79, "broken")])
def test_a_bar_stands_as_its_interval_does(low: float, high: float, state: str) -> None:
    found = {(one.what, one.asked): one.state for one in lines(judged(low, high), ["merge"])}
    assert found == {
        ("proof merge", "holds"): "broken",
        ("exact", "at least 0.800"): state,
        ("exact", "better than base"): "holds",
        ("exact", "better than few_shot"): "open",
        ("exact", "not worse than release"): "broken",
        ("guard g", "a at most 0.2"): "holds",
        ("budget", "95 of 100 answers within 300 ms"): "broken",
        ("budget", "1,000 answers for at most 2"): "open",
    }
    states = [one.state for one in lines(judged(low, high))]
    assert states == sorted(states, key=["broken", "open", "holds"].index)


def test_further_bars_margins_and_what_people_say_have_lines() -> None:
    report = judged(0.8, 0.9, rouge={"value": 0.5, "low": 0.4, "high": 0.6, "n": 100})
    also = {"grader": "rouge", "at_least": 0.7, "beat": ["base"], "margin": 0.05}
    near = {"grader": "rouge", "against": "base", "difference": -0.02, "low": -0.04, "high": 0.01, "p_holm": 0.01}
    bars = [{"name": "people prefer it to base", "state": "holds", "words": "0.61", "need": 0, "of": "ratings"}]
    goal = report.numbers["goal"] | {"also": [also]}
    numbers = {"goal": goal, "comparisons": [near], "bars": bars, "gate": {"cases": 50}, "openings": 3}
    report = report.model_copy(update={"numbers": numbers, "guards": []})
    assert [(one.what, one.asked, one.state) for one in lines(report)] == [
        ("rouge", "at least 0.700", "broken"),
        ("exact", "at least 0.800", "holds"),
        ("rouge", "lower by less than 0.05 than base", "holds"),
        ("people", "people prefer it to base", "holds"),
    ]
    card = verdict_card(report)
    assert card is not None and card.looks == 3
    assert [(one.title, one.rows) for one in card.people] == [("hand-picked cases", [["cases", "50"]])]


def test_without_goal_bounds_and_budget_nothing_was_asked_for() -> None:
    report = judged(0.1, 0.2)
    assert lines(report.model_copy(update={"numbers": {"grader": "exact"}, "guards": []})) == []
    assert verdict_card(None) is None


def test_the_front_is_a_stair_and_spots_are_told_apart() -> None:
    def one(value: float, cost: float) -> dict[str, Any]:
        return {"exact": {"value": value, "low": value - 0.05, "high": value + 0.05}, "cost_per_1000": cost}

    figures = {"base": one(0.2, 1.0), "tuned": one(0.9, 2.0), "few_shot": one(0.5, 4.0), "big": one(0.95, 9.0)}
    fronts, budget = {"cost_per_1000": ["base", "tuned"]}, {"latency": None, "cost_per_1000": 5.0}
    (trade,) = plotting.trades(figures, "exact", fronts, budget)
    states = {spot.name: spot.state for spot in trade.spots}
    assert states == {"big": "dear", "tuned": "front", "few_shot": "beaten", "base": "front"}
    assert trade.limit == pytest.approx(50.0) and trade.x_ticks[-1].label == "10"
    spots = {spot.name: spot for spot in trade.spots}
    base, tuned = spots["base"], spots["tuned"]
    assert trade.stair == f"M{base.x * 10:.1f} 1000V{base.y * 10:.1f}H{tuned.x * 10:.1f}V{tuned.y * 10:.1f}H1000"
    dear = {"a": one(0.5, 0.01), "b": one(0.6, 3.0)}
    (wide,) = plotting.trades(dear, "exact", {"cost_per_1000": ["a", "b"]}, None)
    assert [tick.label for tick in wide.x_ticks] == ["0.01", "0.1", "1", "10"]  # logarithmic


def test_confidence_is_drawn_on_its_own_scales() -> None:
    curve = plotting.reliability(
        [{"confidence": 0.5, "accuracy": 0.25, "n": 4}, {"confidence": 1.0, "accuracy": 1.0, "n": 1}]
    )
    assert curve is not None and [dot[:2] for dot in curve.dots] == [(50.0, 75.0), (100.0, 0.0)]
    assert curve.dots[0][2] > curve.dots[1][2]
    sure = plotting.coverage([{"coverage": 1.0, "accuracy": 1.0}, {"coverage": 0.5, "accuracy": 1.0, "low": 1.0}])
    assert sure is not None and [dot[:2] for dot in sure.dots] == [(50.0, 0.0), (100.0, 0.0)]
    assert plotting.reliability([{"confidence": None, "accuracy": 1}]) is None and plotting.coverage([]) is None


def test_a_grader_that_leaves_0_to_1_has_a_scale_of_its_own() -> None:
    panel = plotting.panel("perplexity", {"tuned": {"perplexity": {"value": 12.0, "low": 10.0, "high": 14.0}}}, mine=[])
    assert panel is not None and panel.ticks[0].label == "10.00" and panel.rows[0].at == pytest.approx(50)


@pytest.mark.parametrize(
    ("scores", "outcomes"),
    [
        ({"tuned": 1.0, "base": 0.0, "few_shot": 1.0}, ["won"]),
        ({"tuned": 0.4, "base": 0.0, "few_shot": 1.0}, ["won", "lost", "wrong"]),
        ({"tuned": 0.0, "base": 0.0}, ["wrong"]),
        ({"tuned": 1.0}, []),
        ({"base": 1.0}, []),
    ],
)
def test_an_answer_is_filed_under_what_happened(scores: dict[str, float], outcomes: list[str]) -> None:
    row = {"id": "1", "prompt": "?", "expected": "!", "answers": dict.fromkeys(scores, "!"), "scores": scores}
    report = Report(stage="evaluate", run="r", numbers={"grader": "exact", "samples": [row]})
    shown = contest.samples(report)
    assert shown[0].outcomes == outcomes
    assert [name for name, _, _ in contest.filters(shown)] == ["all", *outcomes]


def test_whatever_people_said_becomes_a_table() -> None:
    said = {"raters": 3, "alpha": {"value": 0.7, "low": 0.5, "high": 0.8}, "kinds_seen": ["a", "b"],
            "strengths": [{"name": "tuned", "strength": 1.25}, {"name": "base"}], "gate": {"critical": 0}}  # fmt: skip
    found = {one.title: (one.heads, one.rows) for one in tables("", said)}
    assert found == {
        "": ([], [["raters", "3"], ["alpha", "0.700 (0.500 to 0.800)"], ["kinds seen", "a, b"]]),
        "strengths": (["name", "strength"], [["tuned", "1.25"], ["base", "-"]]),
        "gate": ([], [["critical", "0"]]),
    }
    assert tables("", None) == []


def test_wide_tables_have_a_line_for_each_key_and_empty_values_none() -> None:
    wide = {f"key_{n}": n for n in range(12)}
    [flat, found] = tables("", {"ratings": 3, "criteria": [], "pairs": [wide, wide]})
    assert flat.rows == [["ratings", "3"]]
    assert (found.heads, len(found.rows), found.rows[1]) == ([], 12, ["key 1", "1", "1"])
