"""Counterfactual pairs: each row that speaks of a group beside itself with the people swapped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError, RunError
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages.counterfactual import pairs

Write = Callable[[str, list[dict[str, Any]]], str]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_that_speaks_of_a_group_has_its_pair_and_its_twin(write: Write, tmp_path: Path) -> None:
    rows = [
        {"text": "He told her that the card is lost", "label": "lost"},
        {"text": "my wife cannot log in", "label": "login"},
        {"text": "my husband cannot log in", "label": "login"},
        {"text": "the card does not work", "label": "broken"},
    ]
    out = tmp_path / "pairs.jsonl"
    report = pairs(write("a.jsonl", rows), out, group="gender")
    found = lines(out)
    assert [one["swapped"][0]["content"] for one in found] == [
        "She told him that the card is lost", "my husband cannot log in", "my wife cannot log in",
    ]  # fmt: skip
    assert [one["twin"] for one in found] == [None, "a:3", "a:2"]
    assert [one["label"] for one in found] == ["lost", "login", "login"]
    counts = ("rows", "rows_that_speak_of_it", "pairs", "swapped_row_is_there_already")
    assert [report.numbers[key] for key in counts] == [4, 3, 3, 2]


def test_answers_are_swapped_alike_and_documents_too(write: Write, tmp_path: Path) -> None:
    asked = {"prompt": "What did the waiter bring?", "completion": "He brought soup."}
    pairs(write("a.jsonl", [asked]), tmp_path / "a", group="gender")
    [one] = lines(tmp_path / "a")
    assert one["swapped"][0]["content"] == "What did the waitress bring?"
    assert (one["answer"], one["swapped_answer"]) == ("He brought soup.", "She brought soup.")
    pairs(write("b.jsonl", [{"text": "An old man sat there."}]), tmp_path / "b", group="age")
    [one] = lines(tmp_path / "b")
    assert one["swapped"] == "A young man sat there." and (one["before"], one["after"]) == ("old", "young")


def test_of_a_run_one_side_is_taken_and_twins_are_looked_for_on_all(
    write: Write, prepared: Callable[..., tuple[Report, Run]], tmp_path: Path
) -> None:
    learned = [{"text": f"my wife has lost card {n}", "label": "lost"} for n in range(20)]
    held = [{"text": f"my husband has lost card {n}", "label": "lost"} for n in range(8)]
    _, run = prepared(sources=[write("a.jsonl", learned)], test=write("b.jsonl", held))
    report = pairs(run.folder, tmp_path / "c")
    assert report.numbers["pairs"] == 8 and report.numbers["swapped_row_is_there_already"] == 8
    assert pairs(run.folder, tmp_path / "d", side="all").numbers["pairs"] == 28


def test_what_cannot_be_is_said_in_a_sentence(write: Write, tmp_path: Path) -> None:
    file = write("a.jsonl", [{"text": "the card does not work", "label": "x"}])
    report = pairs(file, tmp_path / "a")
    assert [one.name for one in report.findings] == ["no_pairs"]
    with pytest.raises(RunError, match="not overwritten"):
        pairs(file, tmp_path / "a")
    with pytest.raises(DataError, match="gender"):
        pairs(file, tmp_path / "b", group="gendre")
