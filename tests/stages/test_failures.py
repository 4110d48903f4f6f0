"""Error analysis finds what was planted: the rows that fail more, what they share, and labels that are wrong."""

from __future__ import annotations

import numpy as np

from tunewright.core.example import Example, Message
from tunewright.stages import failures

TOPICS = {
    "card": "my bank card does not work at the shop counter today number {}",
    "rate": "which exchange rate do you take for euros this week number {}",
    "fee": "why was there a monthly fee taken from the savings account number {}",
}


def rows(count: int, *, first: int = 0) -> list[Example]:
    found = []
    for number in range(first, first + count):
        label = [*TOPICS][number % 3]
        said = [
            Message(role="user", content=TOPICS[label].format(number)),
            Message(role="assistant", content=label),
        ]
        found.append(Example(id=f"t:{number}", messages=said, label=label))
    return found


def analysed(test: list[Example], texts: list[str], **others: list[float | None]) -> dict:
    scores = [float(text == one.label) for text, one in zip(texts, test, strict=True)]
    given = failures.Answers(
        rows=test,
        texts=texts,
        scores=scores,
        fails=failures.failing(scores, right_or_wrong=True),
        others=others,
        confidences=[None] * len(test),
    )
    return failures.analyse(given, rows(90, first=1000), None)


def test_a_kind_of_row_that_fails_is_found_and_others_are_not() -> None:
    test = rows(90)
    texts = [one.label or "" for one in test]
    for place in range(1, 60, 3):  # 20 of the 30 questions about rates
        texts[place] = "card"
    found = analysed(test, texts)
    assert found["failing"] == 20
    weak = {(group["kind"], group["name"]) for group in found["groups"] if group["weak"]}
    assert ("label", "rate") in weak
    assert ("word", "exchange") in weak
    assert not {("label", "card"), ("label", "fee"), ("word", "card")} & weak
    assert set(found["clusters"][0]["words"]) <= {
        "exchange",
        "euros",
        "rate",
        "take",
        "week",
        "which",
        "you",
        "for",
        "this",
    }
    assert found["clusters"][0]["n"] == 20
    told = failures.findings(found, "desk")
    assert any("rate" in one.message for one in told)


def test_scattered_failures_make_no_weak_spot() -> None:
    alarms = 0
    for seed in range(20):
        test = rows(90)
        draw = np.random.default_rng(seed)
        texts = ["nothing" if draw.random() < 0.2 else one.label or "" for one in test]
        alarms += any(group["weak"] for group in analysed(test, texts)["groups"])
    assert alarms <= 3  # one in twenty is what the level allows, give or take


def test_wrong_test_labels_are_likely_ones_on_which_two_models_agree() -> None:
    test = rows(60)
    wrong = {7, 22, 41}
    mislabelled = [
        one.model_copy(update={"label": "fee" if one.label != "fee" else "card"}) if place in wrong else one
        for place, one in enumerate(test)
    ]
    texts = [one.label or "" for one in test]  # the model answers what is right
    texts[5] = "card"  # and is wrong once, on its own
    found = analysed(mislabelled, texts)["labels"]
    assert {row["id"] for row in found["rows"]} == {f"t:{place}" for place in wrong}
    assert found["n"] == 3


def test_labels_that_the_model_mostly_misses_are_not_doubted() -> None:
    test = rows(60)
    mislabelled = [one.model_copy(update={"label": "fee"}) if one.label == "rate" else one for one in test]
    texts = [one.label or "" for one in test]
    for place in range(2, 60, 3):  # of the rows about fees most are answered otherwise, too
        texts[place] = "card" if place > 8 else "fee"
    assert analysed(mislabelled, texts)["labels"] == {"n": 0, "rows": []}


def test_hardest_rows_are_those_that_nobody_has_right() -> None:
    test = rows(30)
    texts = [one.label or "" for one in test]
    texts[3] = texts[9] = "nothing"
    base: list[float | None] = [1.0] * 30
    base[9] = 0.0
    assert [row["id"] for row in analysed(test, texts, base=base)["hardest"]] == ["t:9", "t:3"]


def test_graded_shares_fail_in_the_lowest_quarter() -> None:
    scores = [0.1, 0.2, 0.9, 1.0, 0.8, 0.7, 0.6, 0.95]
    assert failures.failing(scores, right_or_wrong=False).tolist() == [True, True] + [False] * 6
    assert not failures.failing([1.0] * 8, right_or_wrong=False).any()
