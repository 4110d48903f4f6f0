"""The support desk's rows: rebuilt byte for byte, balanced, one request each, and a test set the training never saw."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

DESK = Path(__file__).resolve().parents[2] / "examples" / "support-desk"
INTENTS = {"Account Access", "Fraud Report", "Transaction Dispute", "General Inquiry"}
Row = dict[str, str]


def read(name: str) -> list[Row]:
    return [json.loads(line) for line in (DESK / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def key(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def five_words(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    return {name: read(name) for name in ("train", "test")}


def test_build_rebuilds_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(DESK / "build.py"), "--out", str(tmp_path)], check=True)
    for name in ("train.jsonl", "test.jsonl"):
        assert (tmp_path / name).read_bytes() == (DESK / name).read_bytes()


def test_there_are_enough_rows_of_each_source(rows: dict[str, list[Row]]) -> None:
    train, test = (Counter(row["source"] for row in rows[name]) for name in ("train", "test"))
    assert train.total() >= 1300 and train["hand"] >= 100
    assert test["generated"] >= 150 and test["hand"] >= 70 and test.total() >= 220
    assert set(train) == set(test) == {"generated", "hand"}


@pytest.mark.parametrize("name", ["train", "test"])
def test_every_output_is_an_intent_and_one_short_response(rows: dict[str, list[Row]], name: str) -> None:
    for row in rows[name]:
        assert list(row) == ["instruction", "input", "output", "source"]
        answer = json.loads(row["output"])
        assert row["output"] == json.dumps(answer) and list(answer) == ["intent", "response"]
        assert answer["intent"] in INTENTS
        assert 15 <= len(answer["response"].split()) <= 35


@pytest.mark.parametrize("name", ["train", "test"])
def test_every_response_asks_one_thing_or_hands_over_to_a_person(rows: dict[str, list[Row]], name: str) -> None:
    for row in rows[name]:
        response = json.loads(row["output"])["response"]
        hands_over = "I am passing you to a person in our" in response
        assert response.count("?") == (0 if hands_over else 1), response
        assert response.count("Please") == (1 if hands_over else 0), response


@pytest.mark.parametrize("name", ["train", "test"])
def test_intents_are_balanced_within_a_factor_of_two(rows: dict[str, list[Row]], name: str) -> None:
    for source in ("generated", "hand"):
        counts = Counter(json.loads(row["output"])["intent"] for row in rows[name] if row["source"] == source)
        assert set(counts) == INTENTS
        assert max(counts.values()) <= 2 * min(counts.values()), (source, counts)


def test_no_input_has_a_twin_in_either_file(rows: dict[str, list[Row]]) -> None:
    counts = Counter(key(row["input"]) for name in rows for row in rows[name])
    assert [text for text, count in counts.items() if count > 1] == []


def test_one_short_instruction_serves_all_rows(rows: dict[str, list[Row]]) -> None:
    instructions = {row["instruction"] for name in rows for row in rows[name]}
    assert len(instructions) == 1
    assert len(instructions.pop().split()) <= 25


def test_hand_written_test_rows_share_no_five_words_with_training(rows: dict[str, list[Row]]) -> None:
    seen: set[tuple[str, ...]] = set()
    for row in rows["train"]:
        seen |= five_words(row["input"])
    alone = [row for row in rows["test"] if row["source"] == "hand" and not five_words(row["input"]) & seen]
    assert len(alone) >= 60


def test_words_alone_tell_most_intents(rows: dict[str, list[Row]]) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC(random_state=0))
    model.fit([row["input"] for row in rows["train"]], [json.loads(row["output"])["intent"] for row in rows["train"]])
    for source, at_least in (("generated", 0.87), ("hand", 0.8)):
        part = [row for row in rows["test"] if row["source"] == source]
        truth = [json.loads(row["output"])["intent"] for row in part]
        assert model.score([row["input"] for row in part], truth) >= at_least
