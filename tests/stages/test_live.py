"""Two releases compared by the outcomes of their traffic: the decision, what is refused, and the command."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tunewright
from tunewright.cli import app
from tunewright.core.errors import DataError, NotThere, RecipeError


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "outcomes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def traffic(num: int, old: float, new: float, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    releases = [draw.choice(["001", "002"]) for _ in range(num)]
    return [
        {"release": one, "score": int(draw.random() < (new if one == "002" else old))} for one in ["001", *releases]
    ]


def test_a_better_release_is_found_a_worse_one_too_and_equal_ones_stay_open(tmp_path: Path) -> None:
    for new, verdict, code in ((0.92, "GO", 0), (0.65, "NO-GO", 3), (0.8, "NEED MORE", 4)):
        report = tunewright.live(written(tmp_path, traffic(1500, 0.8, new)))
        assert (report.verdict, report.exit_code) == (verdict, code)
        assert report.numbers["low"] <= report.numbers["difference"] <= report.numbers["high"]
        assert (report.numbers["settled_after"] is None) == (verdict == "NEED MORE")
        assert "002 minus 001 is" in str(report.reason)


def test_which_one_is_new_can_be_said(tmp_path: Path) -> None:
    path = written(tmp_path, traffic(1500, 0.8, 0.92))
    assert tunewright.live(path, between=("002", "001")).verdict == "NO-GO"
    with pytest.raises(DataError, match="has outcomes of 001, 002, found between 001 and 003"):
        tunewright.live(path, between=("001", "003"))
    three = written(tmp_path, [*traffic(100, 0.8, 0.8), {"release": "003", "score": 1}])
    with pytest.raises(DataError, match="Name two of them"):
        tunewright.live(three)
    assert tunewright.live(three, between=("001", "002")).numbers["outcomes"].keys() == {"001", "002"}


def test_pairs_are_compared_on_the_same_requests(tmp_path: Path) -> None:
    rows = [{"a": 0, "b": 1}] * 40 + [{"a": 1, "b": 1}] * 60
    random.Random(1).shuffle(rows)
    report = tunewright.live(written(tmp_path, rows))
    assert report.verdict == "GO"
    assert report.numbers["difference"] == pytest.approx(0.4)
    assert report.numbers["outcomes"] == {"a": 100, "b": 100}


def test_a_share_that_must_be_good_is_told_too(tmp_path: Path) -> None:
    better_but_bad = written(tmp_path, traffic(1500, 0.3, 0.6))
    assert tunewright.live(better_but_bad).verdict == "GO"
    report = tunewright.live(better_but_bad, good=0.9, bad=0.8)
    assert report.verdict == "NO-GO"
    assert report.numbers["share"]["told"] == "bad"
    assert "is rather 0.8 than 0.9" in str(report.reason)
    with pytest.raises(DataError, match="0 or 1"):
        tunewright.live(written(tmp_path, [{"a": 0.5, "b": 0.5}] * 20), good=0.9, bad=0.8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", ":2 is no outcome, found 'not json'"),
        ('{"release": "001", "score": 2}', ":2 is no outcome"),
        ('{"a": 1}', ":2 is no outcome"),
        ('{"score": 1}', ":2 is no outcome"),
        ('{"a": 1, "b": 0}', ":2 is of another shape"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text('{"release": "001", "score": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        tunewright.live(path)


def test_what_cannot_be_asked_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, traffic(50, 0.8, 0.8))
    with pytest.raises(NotThere, match="There is no file"):
        tunewright.live(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no outcome yet"):
        tunewright.live(written(tmp_path / ".", []))
    path = written(tmp_path, traffic(50, 0.8, 0.8))
    for options in ({"effect": 0.0}, {"level": 0.7}, {"good": 0.9}, {"good": 0.5, "bad": 0.8}):
        with pytest.raises(RecipeError, match="found"):
            tunewright.live(path, **options)


def test_the_command_prints_the_report(tmp_path: Path) -> None:
    path = written(tmp_path, traffic(1500, 0.8, 0.92))
    told = CliRunner().invoke(app(), ["live", str(path), "--json"])
    assert told.exit_code == 0
    assert json.loads(told.stdout)["verdict"] == "GO"
    seen = CliRunner().invoke(app(), ["live", str(path), "--between", "002", "001"])
    assert seen.exit_code == 3
    assert "001 is worse than 002" in " ".join(seen.stdout.replace("│", " ").split())
