"""chrf, meteor, fuzzy, ranking, agreement and the calibration of label_f1 equal their reference libraries."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from sklearn.metrics import brier_score_loss, cohen_kappa_score, ndcg_score

from tunewright.core import catalog
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.graders.meteor import meteor

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
EXPECTED = [
    "the cat is on the mat today",
    "there is no time to lose here",
    "a small river runs by the old house",
    "go home",
    "\u732b\u304c\u3044\u308b",
]
ANSWERS = ["the cat is on a mat", "there is not much time to lose", "The rivers run by the house of old", "", "\u732b"]


def grader(options: str | dict[str, Any]) -> Grader:
    found: Grader = catalog.build("graders", options)
    return found


def value(one: Grader, expected: list[str], answers: list[str]) -> float:
    examples = [Example(id=str(at), expected=text) for at, text in enumerate(expected)]
    grades = [one.grade(example, answer) for example, answer in zip(examples, answers, strict=True)]
    return float(one.value(one.tally(examples, answers, grades).sum(axis=0)))


def real_pairs() -> tuple[list[str], list[str]]:
    """Two ways in which people say the same thing."""
    path = DATA / "generation-e2e-nlg" / "test.jsonl"
    if not path.exists():
        pytest.skip(f"real data is not there: {path} (set TUNEWRIGHT_DATA)")
    said: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        said.setdefault(row["mr"], []).append(row["text"])
    pairs = [texts[:2] for texts in said.values() if len(texts) > 1][:60]
    return [first for first, _ in pairs], [second for _, second in pairs]


@pytest.mark.parametrize("words", [0, 2])
@pytest.mark.parametrize("picks", [[0, 1, 2, 3, 4], [0, 0, 2], [3], [4, 4, 1]])
def test_chrf_is_sacrebleus_for_any_rows(words: int, picks: list[int]) -> None:
    one = grader({"kind": "chrf", "words": words})
    expected, answers = [EXPECTED[at] for at in picks], [ANSWERS[at] for at in picks]
    oracle = sacrebleu.corpus_chrf(answers, [expected], word_order=words).score
    assert value(one, expected, answers) * 100 == pytest.approx(oracle)
    examples = [Example(id="a", expected=text) for text in expected]
    assert one.summarise(examples, list(answers), [])["chrf"] == pytest.approx(oracle)
    assert one.grade(examples[0], expected[0]).score == pytest.approx(1)


def test_real_answers_get_the_libraries_own_figures() -> None:
    from nltk.translate.meteor_score import single_meteor_score

    expected, answers = real_pairs()
    assert value(grader("chrf"), expected, answers) * 100 == pytest.approx(
        sacrebleu.corpus_chrf(answers, [expected]).score
    )
    assert value(grader("bleu"), expected, answers) * 100 == pytest.approx(
        sacrebleu.corpus_bleu(answers, [expected]).score
    )

    class Nothing:
        def synsets(self, word: str) -> list[Any]:
            return []

    plain = [(a, b) for a, b in zip(answers, expected, strict=True) if (a + b).isascii()]
    from nltk.tokenize import RegexpTokenizer

    words = RegexpTokenizer(r"[A-Za-z0-9]+").tokenize
    for said, wanted in plain:
        assert meteor(said, wanted) == pytest.approx(single_meteor_score(words(wanted), words(said), wordnet=Nothing()))


def test_meteor_matches_stems_and_minds_order() -> None:
    assert meteor("the cats sat", "the cat sat") > meteor("the dogs sat", "the cat sat") > 0
    assert meteor("sat cat the", "the cat sat") < meteor("the cat sat", "the cat sat") == pytest.approx(1, abs=0.02)
    assert meteor("", "the cat") == meteor("the cat", "") == 0


def test_fuzzy_is_the_indel_ratio_of_folded_texts() -> None:
    from rapidfuzz.distance import Indel

    one = grader("fuzzy")
    found = one.grade(Example(id="a", expected="Jon  Smith"), "john smyth.").score
    assert found == pytest.approx(Indel.normalized_similarity("john smyth", "jon smith"))
    assert one.grade(Example(id="a", expected="x"), "").score == 0


# --- ranking ---


def test_ranking_is_scikit_learns_ndcg() -> None:
    generator = np.random.default_rng(3)
    items = [f"doc{number}" for number in range(12)]
    for _ in range(20):
        relevance = generator.integers(0, 4, 12)
        order = generator.permutation(12)
        expected = json.dumps({items[at]: int(relevance[at]) for at in range(12)})
        answer = "\n".join(f"{place + 1}. {items[at]}" for place, at in enumerate(order))
        scores = np.empty(12)
        scores[order] = np.arange(12, 0, -1)
        for k in (3, 10):
            one = grader({"kind": "ranking", "k": k})
            found = one.grade(Example(id="a", expected=expected), answer)
            assert found.score == pytest.approx(ndcg_score([relevance], [scores], k=k))
            hits = [place for place, at in enumerate(order[:k]) if relevance[at] > 0]
            assert found.facts["recall"] == pytest.approx(len(hits) / (relevance > 0).sum())
            assert found.facts["mrr"] == pytest.approx(1 / (1 + hits[0]) if hits else 0)


@pytest.mark.parametrize(
    ("answer", "ndcg", "mrr", "recall"),
    [
        ('["a", "b"]', 1, 1, 1),
        ("- x\n- a", 1 / np.log2(3) / (1 + 1 / np.log2(3)), 0.5, 0.5),
        ("a\na\nA.\nb", 1, 1, 1),
        ("nothing of it", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_lists_are_read_as_json_or_by_line(answer: str, ndcg: float, mrr: float, recall: float) -> None:
    example = Example(id="a", expected='["b", "a"]')
    for figure, wanted in (("ndcg", ndcg), ("mrr", mrr), ("recall", recall)):
        one = grader({"kind": "ranking", "figure": figure, "k": 3})
        assert one.grade(example, answer).score == pytest.approx(wanted)
    assert grader("ranking").grade(Example(id="a", expected="[]"), "[]").score == 1


# --- agreement ---


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_agreement_is_scikit_learns_kappa(weights: str) -> None:
    generator = np.random.default_rng(4)
    true = generator.integers(1, 6, 80)
    said = np.clip(true + generator.integers(-1, 2, 80), 1, 5)
    one = grader({"kind": "agreement", "weights": weights})
    oracle = cohen_kappa_score(true, said, weights=None if weights == "none" else weights)
    assert value(one, [f"{n}" for n in true], [f"{n}.0" for n in said]) == pytest.approx(oracle)
    worse = value(one, [f"{n}" for n in true], [f"{6 - n}" for n in true])
    assert worse == 0 or weights == "none"
    examples = [Example(id="a", expected=f"{n}") for n in true]
    told = one.summarise(examples, [f"{6 - n}" for n in true], [Grade(score=0)])
    assert told[f"kappa_{weights}"] == pytest.approx(
        cohen_kappa_score(true, 6 - true, weights=None if weights == "none" else weights)
    )


def test_agreement_takes_words_in_order_and_refuses_what_is_no_scale() -> None:
    words = grader({"kind": "agreement", "scale": ["poor", "fair", "good"]})
    expected = ["poor", "fair", "good", "good"]
    near, far = ["poor", "Fair.", "good", "fair"], ["poor", "fair", "good", "poor"]
    assert value(words, expected, expected) == 1 > value(words, expected, near) > value(words, expected, far)
    assert value(words, expected, ["poor", "fair", "good", "what?"]) == value(words, expected, far)
    with pytest.raises(DataError, match="List the steps"):
        value(grader("agreement"), expected, near)
    with pytest.raises(DataError, match="no step of scale"):
        value(words, ["bad"], ["poor"])
    with pytest.raises(DataError, match="regression"):
        value(grader("agreement"), [str(n / 7) for n in range(40)], ["1"] * 40)


# --- calibration ---


def test_calibration_of_labels_is_that_of_the_confidences() -> None:
    generator = np.random.default_rng(5)
    sure = generator.uniform(0.2, 1.0, 200)
    right = generator.random(200) < sure**2
    examples = [Example(id=str(at), expected="a") for at in range(200)]
    answers = ["a" if one else "b" for one in right]
    one = grader({"kind": "label_f1", "labels": ["a", "b"]})
    desk = Desk(ask=lambda endpoint, questions: [], confidences={str(at): float(c) for at, c in enumerate(sure)})
    told = one.summarise(examples, list(answers), one.grade_all(examples, answers, desk))
    assert told["brier"] == pytest.approx(brier_score_loss(right, sure))
    edges = np.linspace(0, 1, 16)
    error = 0.0
    for low, high in pairwise(edges):
        inside = (sure > low) & (sure <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert told["calibration_error"] == pytest.approx(error)
    grades = [one.grade(example, answer) for example, answer in zip(examples, answers, strict=True)]
    assert "brier" not in one.summarise(examples, list(answers), grades)


# --- form ---


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "answer",
    ['{"city": "Rome", "days": 2}', '{"city": "Rome"}', '{"days": 2}', '{"city": 3}', '{"city": "x", "days": 0}', "[]"],
)
def test_json_schema_is_the_librarys_verdict(answer: str) -> None:
    import jsonschema

    one = grader({"kind": "json_schema", "inline": SCHEMA})
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(answer))
    found = one.grade(Example(id="a"), answer)
    assert found.score == float(valid)
    assert bool(found.why) != valid


def test_json_schema_from_a_file_and_in_other_words(tmp_path: Path) -> None:
    path = tmp_path / "trip.json"
    path.write_text(json.dumps(SCHEMA))
    strict = grader({"kind": "json_schema", "file": str(path)})
    loose = grader({"kind": "json_schema", "file": str(path), "anywhere": True})
    said = 'Here {you} are:\n```json\n{"city": "Rome"}\n```'
    assert strict.grade(Example(id="a"), said).why == "is no JSON"
    assert loose.grade(Example(id="a"), said).score == 1
    with pytest.raises(DataError, match="cannot read"):
        grader({"kind": "json_schema", "file": str(tmp_path / "none.json")}).grade(Example(id="a"), "{}")
    with pytest.raises(RecipeError, match="either file or inline"):
        grader("json_schema")
    with pytest.raises(RecipeError, match="no JSON schema"):
        grader({"kind": "json_schema", "inline": {"type": "objekt"}})


def test_a_schema_fetches_nothing() -> None:
    one = grader({"kind": "json_schema", "inline": {"$ref": "http://127.0.0.1:9/x.json"}})
    with pytest.raises(DataError, match="nothing is fetched"):
        one.grade(Example(id="a"), "{}")


def test_contains_asks_for_all_some_and_none() -> None:
    one = grader({"kind": "contains", "every": ["refund"], "some": ["today", "now"], "never": ["promise"]})
    assert one.grade(Example(id="a"), "Your Refund is sent  today").score == 1
    assert one.grade(Example(id="a"), "sent today").why == "'refund' is missing"
    assert one.grade(Example(id="a"), "refund later").why == "none of 2 phrases is there"
    assert one.grade(Example(id="a"), "I promise a refund now").why == "'promise' must not be there"
    whole = grader({"kind": "contains", "every": ["{expected}"], "whole_words": True, "case": True})
    assert whole.grade(Example(id="a", expected="art"), "art, of course").score == 1
    assert [whole.grade(Example(id="a", expected="art"), text).score for text in ("a party", "Art")] == [0, 0]
    assert whole.grade(Example(id="a"), "anything").score == 0
    with pytest.raises(RecipeError, match="nothing to look for"):
        grader("contains")
