"""Monitors by simulation: what is planted is found within the traffic that docs/monitor.md states, nothing else is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_traffic import LABELS, PLANTS, asked, exchanged, scene, turn

from tunewright.core import catalog
from tunewright.core.budget import Budget
from tunewright.core.monitor_options import MONITORS
from tunewright.core.monitoring import Figure, MonitorResult, MonitorScene
from tunewright.core.spans import moment, span
from tunewright.monitors import form, latency, quality
from tunewright.stages.monitor import held

OTHERS = [catalog.build("monitors", kind) for kind in MONITORS if kind != "drift"]
ALL = [catalog.build("monitors", {"kind": "drift", "rows": 100}), *OTHERS]


def look(at: MonitorScene, monitors: list[Any] | None = None) -> list[MonitorResult]:
    """One look: every monitor, and its alarms."""
    return held([part.watch(at) for part in monitors or ALL], at.level)


def alarms(results: list[MonitorResult]) -> dict[str, Figure]:
    return {f"{one.monitor}: {figure.name}": figure for one in results for figure in one.figures if figure.alarm}


@pytest.mark.parametrize(
    ("plant", "share", "requests", "figure"),
    [
        ("labels", 0.25, 300, "drift: labels"),
        ("topic", 0.2, 300, "drift: novelty"),
        ("length", 0.25, 300, "drift: question length"),
        ("language", 0.1, 300, "drift: question language"),
        ("confidence", 0.35, 300, "quality: estimated accuracy (mean confidence)"),
        ("latency", 0.2, 200, "latency: late answers"),
    ],
)
def test_what_is_planted_is_found_within_the_stated_traffic(
    plant: str, share: float, requests: int, figure: str
) -> None:
    found = [alarms(look(scene(seed, requests=requests, plant=PLANTS[plant], share=share))) for seed in range(3)]
    assert all(figure in one for one in found), [list(one) for one in found]


def test_a_finding_names_requests_that_are_unlike() -> None:
    at = scene(0, plant=PLANTS["topic"], share=0.2)
    odd = {one.id for one in at.traffic if "garden" not in str(one.answer) and is_of_garden(one.messages)}
    figure = alarms(look(at))["drift: novelty"]
    assert len(set(figure.examples[:20]) & odd) >= 18


def is_of_garden(messages: Any) -> bool:
    return any(
        word in messages[0]["content"].split()
        for word in ["tomato", "seeds", "soil", "compost", "frost", "lawn", "spade"]
    )


def test_nothing_planted_raises_no_more_alarms_than_stated() -> None:
    drift = catalog.build("monitors", {"kind": "drift", "rows": 50, "known": 100, "least": 0})
    looks = 120
    found = [alarms(look(scene(seed, rows=80, requests=50, level=0.05), [drift, *OTHERS])) for seed in range(looks)]
    assert sum(map(bool, found)) / looks <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / looks)
    assert any(found), "a test that never errs has no power either"


def test_repeated_looks_share_the_chance_of_a_false_alarm() -> None:
    """Ten looks at windows that overlap by half, beside one reference: any alarm among them counts."""
    part = catalog.build("monitors", {"kind": "drift", "texts": None, "least": 0})
    streams, raised = 100, 0
    for seed in range(streams):
        whole = scene(seed, rows=150, requests=330, inputs=(), held_out=(), level=0.05 / 10)
        windows = [whole.traffic[start : start + 60] for start in range(0, 300, 30)]
        raised += any(alarms(look(replace(whole, traffic=window), [part])) for window in windows)
    assert raised / streams <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / streams)


def test_a_shift_too_small_to_matter_raises_no_alarm() -> None:
    many = scene(0, rows=1500, requests=1500, plant=PLANTS["labels"], share=0.15, level=0.05)
    told = {figure.name: figure for figure in catalog.build("monitors", "drift").watch(many).figures}["labels"]
    assert told.p is not None and told.p < 0.01 and told.worth
    calm = catalog.build("monitors", {"kind": "drift", "texts": None, "least": 0.3})
    assert not alarms(look(many, [calm]))


def test_drift_says_how_much_more_traffic_it_needs() -> None:
    drift = catalog.build("monitors", {"kind": "drift", "texts": None})
    few = drift.watch(scene(0, requests=60, training=()))
    assert few.need is not None and few.need > 60
    assert drift.watch(scene(0, requests=few.need, training=())).need is None
    hopeless = drift.watch(scene(0, rows=60, training=()))
    assert hopeless.need is None
    assert [finding.name for finding in hopeless.findings] == ["small reference"]
    assert not drift.watch(scene(0, rows=10)).figures


# --- quality and feedback ---


def test_accuracy_is_estimated_where_only_the_questions_have_changed() -> None:
    at = scene(0, rows=2000, requests=3000, plant=PLANTS["confidence"], share=0.5)
    mean, _ = catalog.build("monitors", "quality").watch(at).figures
    true = float(np.mean([one.confidence or 0 for one in at.traffic]))  # each is right as often as it says
    assert mean.low is not None and mean.high is not None and mean.low <= true <= mean.high
    assert mean.reference == pytest.approx(0.8, abs=0.03)
    assert mean.alarm is False and mean.p is not None and mean.p < 1e-6


def test_the_threshold_leaves_as_many_below_as_were_wrong() -> None:
    known, right = np.linspace(0, 1, 100), np.repeat([0.0, 1.0], [30, 70])
    assert quality.atc(known, known, right) == pytest.approx(0.7)
    assert quality.atc(known / 2, known, right) == pytest.approx(0.4, abs=0.011)
    shifted = np.concatenate([known[:30], known[:30], known[30:]])  # of the hard ones twice as many
    assert quality.atc(shifted, known, right) == pytest.approx(70 / 130)


def test_quality_says_that_it_needs_confidences() -> None:
    at = scene(0)
    bare = replace(at, traffic=[replace(one, confidence=None) for one in at.traffic])
    found = catalog.build("monitors", "quality").watch(bare)
    assert not found.figures
    assert [finding.name for finding in found.findings] == ["no confidences"]


def test_people_are_counted_by_what_they_say_of_an_answer() -> None:
    at = scene(0, requests=60)
    said = [
        {"thumb": "up"}, {"thumb": "down"}, {"correction": "refund", "answer": "order", "thumb": "up"},
        {"correction": "order", "answer": "order"}, {},
    ]  # fmt: skip
    traffic = [replace(one, **said[number % 5]) for number, one in enumerate(at.traffic)]
    spoken, wrong = (
        catalog.build("monitors", {"kind": "feedback", "wrong": 0.2}).watch(replace(at, traffic=traffic)).figures
    )
    assert (spoken.value, spoken.n) == (0.8, 60)
    assert (wrong.value, wrong.n) == (0.5, 48)
    assert wrong.p is not None and wrong.p < 1e-5
    assert wrong.examples[:2] == ["c1", "c2"]


# --- form, latency, cost, fairness ---


def test_refusals_bad_json_loops_and_cut_answers_are_counted() -> None:
    at = scene(0, rows=100, requests=100, labels=())
    tested = [replace(one, answer='{"intent": "order", "reply": "yes"}') for one in at.tested]
    bad = ["I'm sorry, but I can't help with that.", '{"intent": "order"', "no no no no and no no no no and " * 4]
    traffic = [
        replace(
            one, answer=bad[number % 3] if number < 60 else tested[0].answer, finish="length" if number < 9 else "stop"
        )
        for number, one in enumerate(at.traffic)
    ]
    found = replace(at, tested=tested, outputs=tested, traffic=traffic)
    told = alarms(look(found))
    assert {"refusals: refusals", "form: out of form", "form: invalid JSON", "form: repeating"} <= set(told)
    assert told["refusals: refusals"].value == pytest.approx(0.2)
    assert told["form: invalid JSON"].value == pytest.approx(0.6)
    schema = {"type": "object", "required": ["intent"], "properties": {"intent": {"enum": ["refund"]}}}
    strict = catalog.build("monitors", {"kind": "form", "json_schema": schema}).watch(found)
    assert {figure.name: figure.value for figure in strict.figures}["invalid JSON"] == 1


@pytest.mark.parametrize(
    ("text", "so"),
    [("a b c d a b c d a b c d", True), ("a b c d a b c d and so on", False), ("yes yes yes", False), ("", False)],
)
def test_words_that_come_round_three_times_repeat(text: str, so: bool) -> None:
    assert form.repeats(text) is so


def test_late_answers_are_held_to_the_budget() -> None:
    at = scene(0, requests=400)
    slow = replace(at, traffic=[replace(one, seconds=0.5 + 0.01 * n) for n, one in enumerate(at.traffic)])
    held_to = replace(slow, budget=Budget(latency=4.0))
    late = {figure.name: figure for figure in catalog.build("monitors", "latency").watch(held_to).figures}
    assert late["seconds of 95%"].bound == 4.0
    assert late["late answers"].value == pytest.approx(49 / 400)
    assert late["late answers"].p is not None and late["late answers"].p < 1e-6
    assert late["late answers"].examples[0] == "c399"


def test_the_interval_of_a_quantile_holds_it_as_often_as_it_says() -> None:
    draw, held_it = np.random.default_rng(0), 0
    for _ in range(400):
        found = latency.quantile("p95", draw.exponential(1, 150), 0.95)
        held_it += (found.low or 0) <= -math.log(0.05) <= (found.high or math.inf)
    assert held_it / 400 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_cost_follows_the_evaluation_s_price_of_a_token() -> None:
    at = scene(0, rows=100, figures={"cost_per_1000": 2.0, "prompt_tokens": 4000, "completion_tokens": 1000})
    dear = replace(at, traffic=[replace(one, prompt_tokens=190, completion_tokens=10) for one in at.traffic])
    cost = catalog.build("monitors", "cost").watch(replace(dear, budget=Budget(cost_per_1000=3.0))).figures[-1]
    assert cost.value == pytest.approx(0.2 / 5000 * 200 * 1000)
    assert (cost.reference, cost.bound, cost.p) == (2.0, 3.0, 0.0)
    priced = catalog.build("monitors", {"kind": "cost", "read": 1.0, "written": 10.0}).watch(dear).figures[-1]
    assert priced.value == pytest.approx((190 + 100) / 1e6 * 1000)


def test_rates_by_group_are_told_and_gate_where_bounded() -> None:
    draw = np.random.default_rng(0)
    traffic = []
    for number in range(400):
        who = "My wife is a woman who" if number % 2 else "My husband is a man who"
        one = replace(turn(draw, number), question=f"{who} wants {asked(draw, 'order')}")
        traffic.append(exchanged(one, number, thumb="down" if number % 2 and draw.random() < 0.5 else "up"))
    at = scene(0, traffic=traffic)
    told = {f.name: f for f in catalog.build("monitors", "fairness").watch(at).figures}
    assert told["gender: thumbs down"].value == pytest.approx(0.5, abs=0.1)
    assert told["gender: thumbs down"].p is None
    bounded = [catalog.build("monitors", {"kind": "fairness", "gap": 0.1})]
    assert "fairness: gender: thumbs down" in alarms(look(at, bounded))
    even = replace(at, traffic=[replace(one, thumb="up") for one in traffic])
    assert not alarms(look(even, bounded))


def test_spans_and_dates() -> None:
    assert (span("30m"), span("24h"), span("2w")) == (1800, 86400, 1209600)
    assert moment("2026-01-02", what="since") == 1767312000
    assert moment("2026-01-02T01:00+01:00", what="since") == 1767312000
    assert LABELS
