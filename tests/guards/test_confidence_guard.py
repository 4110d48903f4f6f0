"""Calibrated and overconfident models are told apart, and what is left to them is right as often as promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from fake_scene import label_row, row, scene

from tunewright.core.example import Example
from tunewright.core.guarding import GuardScene
from tunewright.core.report import GuardResult
from tunewright.guards.confidence import Confidence

LABELS = ["yes", "no"]


def rows(n: int, seed: int, *, factor: float) -> tuple[list[Example], dict[str, Mapping[str, float]]]:
    """Rows and what a model says of them; it is right by chance `p` and says the log-odds of p times the factor."""
    draw = np.random.default_rng(seed)
    found, told = [], {}
    for number in range(n):
        odds = float(draw.normal(2.5, 2.0))
        right = draw.random() < 1 / (1 + np.exp(-odds))
        text, label = f"{seed}-{number}", LABELS[int(draw.integers(2))]
        answer = label if right else LABELS[1 - LABELS.index(label)]
        share = float(1 / (1 + np.exp(-abs(odds) * factor)))
        said = answer if odds > 0 else LABELS[1 - LABELS.index(answer)]
        other = LABELS[1 - LABELS.index(said)]
        found.append(label_row(number, text, label))
        told[text] = {said: share, other: 1 - share}
    return found, told


def seen(factor: float, *, n: int = 600, seed: int = 0) -> GuardScene:
    test, told = rows(n, 2 * seed, factor=factor)
    validation, more = rows(n, 2 * seed + 1, factor=factor)
    shares = {**told, **more}
    return scene(lambda text: next(iter(shares[text])), test=test, validation=validation, labels=LABELS,
                 shares=shares.__getitem__)  # fmt: skip


def value(found: GuardResult, name: str) -> float:
    return next(one.value for one in found.measures if one.name == name)


def test_an_overconfident_model_is_found_and_cooled() -> None:
    found = Confidence().measure(seen(3.0))
    assert found.figures["temperature"] == pytest.approx(3.0, rel=0.25)
    before, after = value(found, "calibration error"), value(found, "calibration error after scaling")
    assert before > 0.06 > after
    assert found.state == "told"
    assert found.samples[0]["confidence"] > 0.9
    assert found.samples[0]["expected"] != found.samples[0]["tuned"]


def test_the_bound_on_the_error_is_after_scaling() -> None:
    assert Confidence(error=0.1).measure(seen(3.0)).state == "holds"


def test_an_error_that_no_temperature_mends_breaks_its_bound() -> None:
    """Sure of everything alike, right in half."""
    test = [label_row(number, f"t{number}", LABELS[number % 2]) for number in range(200)]
    validation = [label_row(number, f"v{number}", "yes") for number in range(200)]
    always = scene(lambda text: "yes", test=test, validation=validation, labels=LABELS, shares=lambda _: {"yes": 0.95})
    found = Confidence(error=0.2).measure(always)
    assert found.state == "broken"


def test_a_calibrated_model_raises_no_alarm() -> None:
    states = [Confidence(error=0.05).measure(seen(1.0, n=300, seed=seed)).state for seed in range(12)]
    assert states.count("broken") <= 1


def test_what_is_answered_without_a_person_is_right_as_often_as_asked_for() -> None:
    found = Confidence(at=0.95).measure(seen(1.0, n=1500))
    assert found.figures["threshold"] is not None
    assert 0.2 < value(found, "answered without a person") < 0.95
    assert value(found, "right where answered without a person") >= 0.94
    curve = found.figures["coverage"]
    assert curve[-1]["coverage"] == 1.0
    assert curve[0]["accuracy"] >= curve[-1]["accuracy"]
    assert all(one["low"] <= one["accuracy"] for one in curve)
    assert sum(one["n"] for one in found.figures["reliability"]) == 1500
    assert Confidence(at=0.95, coverage=0.2).measure(seen(1.0, n=1500)).state in ("holds", "open")
    assert Confidence(at=0.95, coverage=0.99).measure(seen(1.0, n=1500)).state == "broken"


def test_a_threshold_that_few_rows_cannot_prove_says_so() -> None:
    found = Confidence().measure(seen(1.0, n=120))
    assert not found.figures["proven_on_validation"]
    assert [one.name for one in found.findings] in (["threshold not proven"], ["no threshold"])


def test_a_model_that_is_never_sure_leaves_everything_to_people() -> None:
    test = [label_row(number, f"t{number}", LABELS[number % 2]) for number in range(60)]
    halves: Callable[[str], Mapping[str, float]] = lambda _: {"yes": 0.5, "no": 0.5}  # noqa: E731
    found = Confidence(coverage=0.5).measure(
        scene(lambda _: "yes", test=test, validation=test, labels=LABELS, shares=halves)
    )
    assert found.state == "broken"
    assert [one.name for one in found.findings] == ["no threshold"]
    assert value(found, "answered without a person") == 0


def test_of_free_answers_the_token_probabilities_tell() -> None:
    """Right where the log-prob is near 0, wrong where it is far: the threshold parts them."""
    test = [row(number, f"{'easy' if number % 3 else 'hard'} {number}", "right") for number in range(90)]
    found = Confidence(at=0.9).measure(
        scene(
            lambda text: "right" if "easy" in text else "wrong",
            test=test,
            validation=test,
            logprob=lambda who, example: -0.05 if "easy" in example.messages[0].content else -3.0,
        )
    )
    assert found.figures["threshold"] == pytest.approx(np.exp(-0.05), abs=1e-4)
    assert value(found, "answered without a person") == pytest.approx(2 / 3)
    assert value(found, "right where answered without a person") == 1.0


def test_without_graded_rows_it_says_so() -> None:
    found = Confidence().measure(scene(lambda _: "yes", labels=LABELS))
    assert (found.measures, [one.name for one in found.findings]) == ([], ["no confidences"])


def test_it_is_usual_for_labels_alone() -> None:
    assert Confidence().fits(LABELS)
    assert not Confidence().fits([])
