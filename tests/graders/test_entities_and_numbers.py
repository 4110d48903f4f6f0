"""entity_f1 equals nervaluate's strict measure; regression and multi_label are scikit-learn's and scipy's."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from nervaluate import Evaluator
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, mean_squared_error, r2_score
from sklearn.preprocessing import MultiLabelBinarizer

from tunewright.core import catalog
from tunewright.core.example import Example, Message, Span
from tunewright.core.parts import Grader

TYPES = ["person", "place", "product"]


def tags(generator: np.random.Generator, length: int) -> list[str]:
    """Random BIO tags."""
    found: list[str] = []
    while len(found) < length:
        kind = TYPES[generator.integers(3)]
        size = int(generator.integers(1, 4))
        found += ["O"] * int(generator.integers(0, 3)) + [f"B-{kind}"] + [f"I-{kind}"] * (size - 1)
    return found[:length]


def spans(words: list[str], bio: list[str]) -> list[Span]:
    found: list[Span] = []
    at = 0
    for word, tag in zip(words, bio, strict=True):
        if tag[0] == "B":
            found.append(Span(start=at, end=at + len(word), label=tag[2:]))
        elif tag[0] == "I":
            found[-1] = found[-1].model_copy(update={"end": at + len(word)})
        at += len(word) + 1
    return found


def entity(words: list[str], bio: list[str]) -> Example:
    return Example(
        id="a", messages=[Message(role="user", content=" ".join(words))], expected="", spans=spans(words, bio)
    )


def said(words: list[str], bio: list[str]) -> str:
    return json.dumps([span.model_dump() | {"text": "x"} for span in spans(words, bio)])


def test_entity_f1_is_nervaluates_strict_measure() -> None:
    generator = np.random.default_rng(3)
    true, pred, examples, answers = [], [], [], []
    for _ in range(60):
        words = [f"w{n}" for n in range(int(generator.integers(3, 12)))]
        one = tags(generator, len(words))
        other = [*one] if generator.random() < 0.5 else tags(generator, len(words))
        true.append(one)
        pred.append(other)
        examples.append(entity(words, one))
        answers.append(said(words, other))
    grader: Grader = catalog.build("graders", "entity_f1")
    tally = grader.tally(examples, answers, [])
    theirs = Evaluator(true, pred, tags=TYPES, loader="list").evaluate()
    assert float(grader.value(tally.sum(axis=0))) == pytest.approx(theirs["overall"]["strict"].f1)
    figures = grader.summarise(examples, answers, [])
    assert figures["precision"] == pytest.approx(theirs["overall"]["strict"].precision)
    for kind in TYPES:
        assert figures["types"][kind]["f1"] == pytest.approx(theirs["entities"][kind]["strict"].f1)


def test_entities_are_found_by_their_words_where_an_answer_tells_no_place() -> None:
    grader: Grader = catalog.build("graders", "entity_f1")
    words = ["ann", "met", "ann", "in", "oslo"]
    example = entity(words, ["B-person", "O", "B-person", "O", "B-place"])
    named = [{"text": "ann", "label": "person"}, {"text": "ann", "label": "person"}, {"text": "oslo", "label": "place"}]
    assert grader.grade(example, json.dumps(named)).score == 1
    assert grader.grade(example, json.dumps(named[1:])).score == pytest.approx(2 * 2 / 5)
    assert grader.grade(example, json.dumps([named[0] | {"label": "place"}])).score == 0
    for wrong in ("", "ann", "{}", '[1, {"label": 2}]', '[{"label": "person"}]'):
        assert grader.grade(example, wrong).score == 0
    nothing = entity(words, ["O"] * 5)
    assert grader.grade(nothing, "[]").score == 1
    assert grader.grade(nothing, json.dumps(named)).score == 0
    plain = Example(id="b", messages=example.messages, expected=json.dumps(named))
    assert grader.grade(plain, said(words, ["B-person", "O", "B-person", "O", "B-place"])).score == 1


def test_regression_is_scikit_learns_and_never_below_zero() -> None:
    generator = np.random.default_rng(1)
    expected = generator.normal(3, 2, 50).round(3)
    got = (expected + generator.normal(0, 0.7, 50)).round(3)
    grader: Grader = catalog.build("graders", "regression")
    examples = [Example(id="a", expected=str(number)) for number in expected]
    answers = [str(number) for number in got]
    value = float(grader.value(grader.tally(examples, answers, []).sum(axis=0)))
    assert value == pytest.approx(r2_score(expected, got))
    figures = grader.summarise(examples, answers, [])
    assert figures["mae"] == pytest.approx(np.abs(expected - got).mean())
    assert figures["rmse"] == pytest.approx(mean_squared_error(expected, got) ** 0.5)
    assert figures["r2"] == pytest.approx(r2_score(expected, got))
    assert figures["pearson"] == pytest.approx(np.corrcoef(expected, got)[0, 1])
    assert figures["spearman"] == pytest.approx(spearmanr(expected, got).statistic)
    within = np.mean(np.abs(expected - got) <= 0.5)
    assert figures["within"] == pytest.approx(within)
    near: Grader = catalog.build("graders", {"kind": "regression", "figure": "within"})
    assert float(near.value(near.tally(examples, answers, []).sum(axis=0))) == pytest.approx(within)
    worse = float(grader.value(grader.tally(examples, ["no number", *answers[1:]], []).sum(axis=0)))
    assert worse < value
    assert float(grader.value(grader.tally(examples, ["50"] * 50, []).sum(axis=0))) == 0
    assert [grader.grade(Example(id="a", expected="3"), text).score for text in ("3.5", "3.6", "much")] == [1, 0, 0]


@pytest.mark.parametrize("figure", ["micro", "macro", "samples", "jaccard", "subset"])
def test_multi_label_is_scikit_learns(figure: str) -> None:
    generator = np.random.default_rng(2)
    names = ["a", "b", "c", "d"]
    sets: list[list[list[str]]] = [[[n for n in names if generator.random() < 0.4] for _ in range(40)] for _ in "tp"]
    grader: Grader = catalog.build("graders", {"kind": "multi_label", "separator": ";", "figure": figure})
    examples = [Example(id="x", expected="; ".join(one) or "[]") for one in sets[0]]
    answers: list[Any] = [json.dumps(one) for one in sets[1]]
    binary = MultiLabelBinarizer(classes=names)
    true, said_ = binary.fit_transform(sets[0]), binary.transform(sets[1])
    oracle = {
        "jaccard": lambda: jaccard_score(true, said_, average="samples", zero_division=1.0),
        "subset": lambda: accuracy_score(true, said_),
    }.get(figure, lambda: f1_score(true, said_, average=figure, zero_division=1.0))()
    value = float(grader.value(grader.tally(examples, answers, []).sum(axis=0)))
    assert value == pytest.approx(oracle)
    figures = grader.summarise(examples, answers, [])
    assert figures[figure] == pytest.approx(oracle)
    assert figures["classes"]["a"]["f1"] == pytest.approx(f1_score(true, said_, average=None)[0])
    assert grader.grade(examples[0], json.dumps(sets[0][0][::-1])).score == 1


def test_labels_that_no_row_has_and_missing_fields_count_against() -> None:
    grader: Grader = catalog.build("graders", {"kind": "multi_label", "figure": "micro"})
    examples = [Example(id="x", expected="a, b"), Example(id="y", expected="[]")]
    tally = grader.tally(examples, ["A., b, z", None], [])
    assert float(grader.value(tally.sum(axis=0))) == pytest.approx(2 * 2 / (2 + 3))
    assert grader.summarise(examples, ["a, z", None], [])["outside"] == 1
    assert grader.summarise(examples, ["a, b", None], [])["subset"] == 0.5


def test_a_row_whose_expected_answer_is_no_number_is_left_out() -> None:
    from tunewright.stages import grading

    said = ["7", "8 apples"]
    rows = [
        Example(
            id=str(number),
            messages=[Message(role="user", content="How many?"), Message(role="assistant", content=text)],
        )
        for number, text in enumerate(said)
    ]
    sheet = grading.sheet(catalog.build("graders", "regression"), rows, ["7", "8"])
    assert sheet is not None
    assert (sheet.rows, sheet.lacking) == ([0], 1)
    assert grading.sheet(catalog.build("graders", "regression"), rows[1:], ["8"]) is None
