"""Near texts are found exactly: as by comparing every pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.data.overlap import Near, grams, jaccard

TEXTS = st.lists(st.text("abc d", min_size=1, max_size=24), max_size=14)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from([0.3, 0.5, 0.8, 0.9, 1.0]))
def test_no_near_pair_is_missed_and_none_invented(known: list[str], asked: list[str], threshold: float) -> None:
    near = Near(known[: len(known) // 2], threshold=threshold)
    for text in known[len(known) // 2 :]:
        near.add(text)
    for text in asked:
        expected = {n for n, other in enumerate(known) if jaccard(grams(text), grams(other)) >= threshold - 1e-9}
        assert {number for number, _ in near.of(text)} == expected


def test_case_and_punctuation_do_not_count() -> None:
    near = Near(["Where is my card?"], threshold=1.0)
    assert list(near.of("where is my CARD")) == [(0, 1.0)]
    assert list(near.of("where is my car")) == []


def test_test_rows_of_bank_intents_near_to_training_rows(real: Path) -> None:
    """The published count of test rows whose 5-gram Jaccard with a training row reaches 0.8, to within one row."""

    def rows(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (real / "intent-banking77" / f"{name}.jsonl").read_text().splitlines()]

    training, test = [*rows("train"), *rows("validation")], rows("test")
    near = Near([row["text"] for row in training], threshold=0.8)
    found = [[training[number]["label"] for number, _ in near.of(row["text"])] for row in test]
    assert sum(map(bool, found)) == pytest.approx(135, abs=1)
    assert sum(bool(labels) and row["label"] not in labels for row, labels in zip(test, found, strict=True)) == 10
