"""Each grader: what it grades, what it reports, and that its figures are the libraries' own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tunewright.core import catalog
from tunewright.core.errors import RecipeError
from tunewright.core.example import Example
from tunewright.core.parts import Grader
from tunewright.graders._folding import fold


def grader(options: str | dict[str, Any]) -> Grader:
    found: Grader = catalog.build("graders", options)
    return found


def example(expected: str) -> Example:
    return Example(id="a", expected=expected)


def figures(one: Grader, expected: list[str], answers: list[str | None]) -> tuple[float, dict[str, Any]]:
    examples = [example(text) for text in expected]
    grades = [one.grade(row, answer or "") for row, answer in zip(examples, answers, strict=True)]
    tally = one.tally(examples, answers, grades)
    return float(one.value(tally.sum(axis=0))), one.summarise(examples, answers, grades)


@pytest.mark.parametrize("kind", ["exact", "label_f1", "rouge", "bleu"])
def test_the_expected_answer_itself_is_best_and_an_empty_one_worst(kind: str) -> None:
    one = grader(kind)
    text = "please hold the line while we check"
    assert one.grade(example(text), text).score == pytest.approx(1)
    assert one.grade(example(text), "").score == 0


def test_exact_folds_case_space_and_ends_only_when_asked() -> None:
    folding, strict = grader("exact"), grader({"kind": "exact", "normalise": False})
    assert folding.grade(example("Fraud Report"), ' "fraud  report." ').score == 1
    assert folding.grade(example("Fraud Report"), "Fraud-Report").score == 0
    assert strict.grade(example("Fraud Report"), "Fraud Report.").score == 0
    assert strict.grade(example("Fraud Report"), "Fraud Report").score == 1
    assert folding.paired == "mcnemar"


@pytest.mark.parametrize(
    ("text", "folded"), [("C++", "c++"), ("(Yes!)", "yes"), ("...", "..."), ("Stra\u00dfe", "strasse"), ("", "")]
)
def test_folding_keeps_what_carries_meaning(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_label_f1_equals_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = ["card", "cash", "loan", "fees"]
    expected = generator.choice(labels, 60, p=[0.6, 0.2, 0.15, 0.05]).tolist()
    answers = [label if generator.random() < 0.7 else str(generator.choice(labels)) for label in expected]
    value, summary = figures(grader("label_f1"), expected, list(answers))
    precision, recall, f1, _ = precision_recall_fscore_support(expected, answers, average="macro", zero_division=0)
    assert value == pytest.approx(f1)
    assert (summary["precision"], summary["recall"], summary["f1"]) == pytest.approx((precision, recall, f1))
    assert summary["accuracy"] == pytest.approx(np.mean(np.array(expected) == np.array(answers)))
    assert summary["confusion"]["card"]["card"] == sum(a == b == "card" for a, b in zip(expected, answers, strict=True))
    per_class = f1_score(expected, answers, average=None, labels=sorted(labels))
    assert [summary["classes"][label]["f1"] for label in sorted(labels)] == pytest.approx(per_class)


def test_label_f1_counts_answers_outside_the_set() -> None:
    value, summary = figures(grader("label_f1"), ["yes", "no", "no"], ["Yes.", "perhaps", None])
    assert summary["outside"] == 2
    assert summary["confusion"] == {"yes": {"yes": 1}, "no": {"(none of the labels)": 2}}
    assert value == pytest.approx((1 + 0) / 2)
    assert summary["accuracy"] == pytest.approx(1 / 3)


def test_label_f1_takes_a_given_label_set() -> None:
    one = grader({"kind": "label_f1", "labels": ["yes", "no", "maybe"]})
    value, summary = figures(one, ["yes", "no"], ["yes", "maybe"])
    assert summary["outside"] == 0
    assert value == pytest.approx((1 + 0 + 0) / 3)  # a label answered but never expected counts against the mean


@pytest.mark.parametrize("variant", ["rouge1", "rouge2", "rougeL"])
def test_rouge_equals_the_library_on_ascii(variant: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected, answer = "The quick brown fox, it jumped over 2 dogs.", "A quick fox jumped over the 2 brown dogs"
    oracle = RougeScorer([variant]).score(expected, answer)[variant].fmeasure
    assert grader({"kind": "rouge", "variant": variant}).grade(example(expected), answer).score == pytest.approx(oracle)


@pytest.mark.parametrize(
    "text",
    [
        "Bitte pr\u00fcfen Sie Ihre \u00dcberweisung",
        "\u043a\u0430\u0440\u0442\u0430 \u0437\u0430\u0431\u043b\u043e\u043a\u0438\u0440\u043e\u0432\u0430\u043d\u0430",
        "\u4fe1\u7528\u5361\u88ab\u9501\u5b9a\u4e86",
    ],
)
def test_rouge_reads_every_script(text: str) -> None:
    one = grader("rouge")
    assert one.grade(example(text), text).score == 1
    assert 0 < one.grade(example(text), text[: len(text) * 2 // 3]).score < 1


def test_bleu_value_is_sacrebleus_corpus_score() -> None:
    import sacrebleu

    expected = [
        "the cat is on the mat today",
        "there is no time to lose here",
        "a small river runs by the old house",
        "go home",
    ]
    answers = ["the cat is on a mat", "there is not much time to lose", "the river runs by the house of old", "go"]
    value, summary = figures(grader("bleu"), expected, list(answers))
    oracle = sacrebleu.corpus_bleu(answers, [expected])
    assert value * 100 == pytest.approx(oracle.score)
    assert summary["bleu"] == pytest.approx(oracle.score)
    assert "tok:13a" in summary["signature"]


def test_bleu_smooths_missing_orders_like_sacrebleu() -> None:
    import sacrebleu

    expected, answers = ["a b c d e f g"], ["a b x c d y e"]
    value, _ = figures(grader("bleu"), expected, list(answers))
    assert 0 < value * 100 == pytest.approx(sacrebleu.corpus_bleu(answers, [expected]).score)
    assert figures(grader("bleu"), ["a b c d"], ["x y z w"])[0] == 0


def test_regex_asks_for_a_pattern_and_forbids_another() -> None:
    one = grader({"kind": "regex", "pattern": r"\?", "must_not": "(?i)promise"})
    assert one.grade(example(""), "Which card?").score == 1
    assert one.grade(example(""), "Tell me the card.").why == "the pattern is not found"
    assert one.grade(example(""), "I Promise. Which card?").why == "'Promise' must not be there"
    assert not one.needs_expected


def test_a_bad_pattern_is_a_sentence() -> None:
    with pytest.raises(RecipeError, match="is not a regular expression"):
        grader({"kind": "regex", "pattern": "("})
    with pytest.raises(RecipeError, match="nothing to check"):
        grader("regex")
    with pytest.raises(RecipeError, match="Did you mean 'normalise'"):
        grader({"kind": "exact", "normalize": True})


def test_two_graders_of_a_kind_are_told_apart_by_name() -> None:
    assert grader({"kind": "exact", "name": "intent", "field": "intent"}).label == "intent"
    assert grader("exact").label == "exact"


@pytest.mark.parametrize("kind", ["label_f1", "bleu"])
def test_resampled_values_equal_the_value_of_those_rows(kind: str) -> None:
    """Totals of drawn rows give what grading only those rows gives, so the bootstrap is exact for any figure."""
    one = grader(kind)
    expected = [
        "please check your card",
        "please send the form back",
        "please check your card",
        "wait here for the clerk",
    ]
    answers: list[str | None] = [
        "please check your card",
        "please send a form back to us",
        "check card",
        "wait here for the clerk",
    ]
    examples = [example(text) for text in expected]
    tally = one.tally(
        examples, answers, [one.grade(row, answer or "") for row, answer in zip(examples, answers, strict=True)]
    )
    for picks in ([0, 1, 2, 3], [0, 0, 1, 1], [3, 3, 3, 3], [1, 2, 2, 1]):
        alone, _ = figures(one, [expected[pick] for pick in picks], [answers[pick] for pick in picks])
        assert float(one.value(tally[picks].sum(axis=0))) == pytest.approx(alone)
