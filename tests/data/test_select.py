"""Scores find the rows that were planted, and the choice keeps its promises: best, unlike, even, the same each time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tunewright.core.errors import DataError
from tunewright.data import readers, select_rows, select_scores
from tunewright.data.select_scores import Texts

TOPICS = {
    "card": "my card was {} in the shop and I need a new card for {}",
    "loan": "please tell me the rate of a loan over {} years for {}",
    "login": "the password for my login fails with {} since {}",
}
WORDS = ["lost", "stolen", "broken", "red", "swift", "winter", "monday", "euros", "home", "travel", "april", "noon"]


def texts(count: int = 120) -> Texts:
    found = Texts()
    pairs = itertools.cycle(itertools.permutations(WORDS, 2))
    for (label, form), pair in zip(itertools.islice(itertools.cycle(TOPICS.items()), count), pairs, strict=False):
        found.prompts.append(form.format(*pair))
        found.answers.append(label)
        found.labels.append(label)
    return found


def test_a_wrong_label_gets_the_least_agreement() -> None:
    rows = texts()
    wrong = [3, 40, 77, 110]
    for row in wrong:
        rows.labels[row] = "loan" if rows.labels[row] != "loan" else "card"
    scores = select_scores.agreement(rows)
    assert sorted(np.argsort(scores)[:4].tolist()) == wrong
    assert sorted(np.argsort(select_scores.quality(rows))[:4].tolist()) == wrong


def test_damaged_repeated_and_foreign_texts_score_low_in_quality_and_others_do_not() -> None:
    rows = Texts()
    for number in range(40):
        rows.prompts.append(f"Tell me about {WORDS[number % 12]} and {WORDS[number % 7]} please, item {number}.")
        rows.answers.append("It is a matter of time and of money, as the bank explained to all of its customers.")
        rows.labels.append(None)
    rows.answers[5] = "It is \ufffd\ufffd\ufffd\ufffd a matter of \ufffd\ufffd time"
    rows.answers[11] = "again and again " * 60
    rows.answers[20] = "Das ist eine Frage der Zeit und des Geldes, wie die Bank ihren Kunden erklaerte, und so weiter."
    rows.answers[33] = "@@@ ### $$$ %%% &&& *** ((( ))) @@@ ### $$$ %%% &&& *** ((( ))) ~~~ @@@ ### $$$"
    scores = select_scores.quality(rows)
    assert sorted(np.argsort(scores)[:4].tolist()) == [5, 11, 20, 33]
    fine = np.delete(scores, [5, 11, 20, 33])
    assert fine.min() > 0.8


def test_relevance_prefers_rows_like_the_inputs() -> None:
    rows = texts()
    scores = select_scores.relevance(rows, ["a loan over ten years", "what is the rate of a loan"])
    best = np.argsort(-scores)[:40]
    assert all(rows.labels[row] == "loan" for row in best)
    with pytest.raises(DataError, match="there are none"):
        select_scores.relevance(rows, [])


def test_density_is_high_among_copies() -> None:
    rows = texts(60)
    for row in range(6):
        rows.prompts[row] = "where is the nearest branch office"
    scores = select_scores.density(rows)
    assert scores[:6].min() > 0.99 > scores[6:].max()
    assert select_scores.density(texts(1)).tolist() == [0.0]


def test_agreement_needs_labels() -> None:
    rows = texts(10)
    rows.labels[4] = None
    with pytest.raises(DataError, match="1 of 10 rows have none"):
        select_scores.agreement(rows)


def test_the_best_are_chosen_and_of_equals_the_first() -> None:
    good = select_rows.goodness(np.array([3.0, 1.0, 3.0, 2.0, 3.0]), "high")
    assert select_rows.chosen(good, 2).tolist() == [0, 2]
    assert select_rows.chosen(select_rows.goodness(np.array([3.0, 1.0, 3.0, 2.0]), "low"), 2).tolist() == [1, 3]
    assert select_rows.chosen(select_rows.goodness(np.array([9.0, 1.0, 5.0, 4.0, 6.0]), "middle"), 1).tolist() == [2]
    assert select_rows.chosen(select_rows.goodness(np.array([np.nan, 1.0, np.nan]), "low"), 1).tolist() == [1]


def test_diversity_takes_one_of_many_copies() -> None:
    prompts = ["lost my card"] * 5 + ["rate of a loan", "password fails", "branch office hours"]
    good = np.array([1.0, 0.99, 0.98, 0.97, 0.96, 0.5, 0.4, 0.3])
    vectors = select_scores.features(prompts)
    greedy = select_rows.chosen(good, 4, features=lambda rows: vectors[rows])
    unlike = select_rows.chosen(good, 4, diverse=0.5, features=lambda rows: vectors[rows])
    assert greedy.tolist() == [0, 1, 2, 3]
    assert unlike.tolist() == [0, 5, 6, 7]


def test_each_pick_is_the_best_by_maximal_marginal_relevance() -> None:
    rows, draw = texts(60), np.random.default_rng(0)
    good, vectors = draw.random(60), select_scores.features(rows.prompts)
    dense = (vectors @ vectors.T).toarray()
    picks: list[int] = []
    for _ in range(12):
        worth = 0.6 * good - 0.4 * (dense[:, picks].max(axis=1) if picks else 0)
        worth[picks] = -np.inf
        picks.append(int(worth.argmax()))
    assert select_rows.chosen(good, 12, diverse=0.4, features=lambda r: vectors[r]).tolist() == sorted(picks)


@pytest.mark.parametrize("diverse", [0.0, 0.5])
def test_balance_gives_each_label_as_many_rows_as_there_are(diverse: float) -> None:
    labels = ["a"] * 3 + ["b"] * 40 + ["c"] * 57
    good = np.linspace(0, 1, 100)
    vectors = select_scores.features([f"word{number}" for number in range(100)])
    picks = select_rows.chosen(good, 23, diverse=diverse, features=lambda rows: vectors[rows], labels=labels)
    counts = {label: sum(labels[row] == label for row in picks) for label in "abc"}
    assert counts == {"a": 3, "b": 10, "c": 10}


def test_a_large_set_is_chosen_from_its_best_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select_rows, "POOL", 20)
    good = np.linspace(0, 1, 200)
    vectors = select_scores.features([f"word{number % 3}" for number in range(200)])
    picks = select_rows.chosen(good, 2, diverse=0.9, features=lambda rows: vectors[rows])
    assert len(picks) == 2 and picks.min() >= 180


def test_of_bank_intents_planted_wrong_labels_are_found(real: Path) -> None:
    values = [row.values for row in readers.read_jsonl(real / "intent-banking77" / "train.jsonl", [])]
    names = sorted({str(row["label"]) for row in values if row})[:10]
    kept = [row for row in values if row and row["label"] in names]
    labels: list[str | None] = [str(row["label"]) for row in kept]
    planted = np.random.default_rng(1).choice(len(kept), 30, replace=False)
    for row in planted:
        labels[row] = names[(names.index(str(labels[row])) + 3) % 10]
    rows = Texts([str(row["text"]) for row in kept], [""] * len(kept), labels)
    worst = np.argsort(select_scores.agreement(rows))[:45]
    assert len(set(worst.tolist()) & set(planted.tolist())) >= 28
