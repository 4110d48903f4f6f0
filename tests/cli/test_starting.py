"""Starter recipes: written for the data at hand, and right as they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError, NotThere, RecipeError, RunError
from tunewright.core.recipe import Recipe
from tunewright.stages import flow, starting

Call = Callable[..., Any]  # the fixture of conftest.py
ROWS: dict[str, dict[str, Any]] = {
    "labels": {"text": "where is it", "label": "card"},
    "instruction": {"instruction": "Translate.", "input": "a", "output": "b"},
    "completion": {"prompt": "a", "completion": "b"},
    "chat": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "text": {"text": "A document."},
}


@pytest.mark.parametrize("format", ROWS)
def test_init_then_check_round_trip(call: Call, tmp_path: Path, format: str) -> None:
    (tmp_path / "tickets.jsonl").write_text(json.dumps(ROWS[format]) + "\n")
    assert call("init", "--data", "tickets.jsonl").code == 0
    assert call("check", "recipe.yaml").code == 0
    made = Recipe.load(tmp_path / "recipe.yaml")
    assert (made.name, made.data.format) == ("tickets", format)
    assert made.data.sources == [str(tmp_path / "tickets.jsonl")]
    assert "#" in (tmp_path / "recipe.yaml").read_text()


def test_init_never_overwrites(call: Call, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    ended = call("init")
    assert ended.code == 2
    assert "not overwritten" in ended.err
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_data_elsewhere_is_found_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "my data.jsonl").write_text(json.dumps(ROWS["labels"]) + "\n")
    starting.init(tmp_path / "desk", data=tmp_path / "my data.jsonl")
    made = Recipe.load(tmp_path / "desk" / "recipe.yaml")
    assert made.data.sources == [str(tmp_path / "my data.jsonl")]
    assert "../my data.jsonl" in (tmp_path / "desk" / "recipe.yaml").read_text()


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'labels'"):
        starting.init(tmp_path / "a.yaml", template="label")
    with pytest.raises(NotThere):
        starting.init(tmp_path / "a.yaml", data=tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text("nothing\n")
    with pytest.raises(DataError, match="no row that can be read"):
        starting.init(tmp_path / "a.yaml", data=tmp_path / "bad.jsonl")
    assert not (tmp_path / "a.yaml").exists()
    starting.init(tmp_path / "a.yaml", template="labels")
    with pytest.raises(RunError):
        starting.init(tmp_path / "a.yaml")


def test_every_starter_is_listed(call: Call) -> None:
    ended = call("init", "--list", "--json")
    assert json.loads(ended.out)["numbers"] == starting.templates()
    assert set(starting.FITTING.values()) <= set(starting.templates())


def test_check_finds_a_format_that_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"colour": "red", "shape": "round"}\n')
    (tmp_path / "recipe.yaml").write_text("data: {sources: [rows.jsonl]}\n")
    with pytest.raises(RecipeError, match="colour, shape"):
        starting.check(tmp_path / "recipe.yaml")


@pytest.mark.parametrize("change", [{}, {"train": {"steps": 5}, "method": "lora"}])
def test_what_check_leaves_open_is_what_choose_fills(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = "".join(json.dumps({"text": f"t{n}", "label": "ab"[n % 2]}) + "\n" for n in range(60))
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "a", "data": {"sources": ["rows.jsonl"]}} | change))
    told: dict[str, str] = starting.check(tmp_path / "recipe.yaml").numbers["reasons"]
    promised = {key for key, why in told.items() if why.startswith("choose fills it: ")}
    flow.choose(tmp_path / "recipe.yaml", runs=tmp_path / "runs")
    given, filled = (
        Recipe.load(tmp_path / "recipe.yaml").to_dict(),
        Recipe.load(tmp_path / "runs/a/recipe.yaml").to_dict(),
    )
    assert promised == {key for key in _open(given) if key not in _open(filled)}


def _open(values: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted keys that are null."""
    inner = [_open(value, f"{prefix}{key}.") for key, value in values.items() if isinstance(value, dict)]
    return {f"{prefix}{key}" for key, value in values.items() if value is None}.union(*inner)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": "nanoo"}, "There is no model 'nanoo'. Name a bundled base (nano)"),
        ({"data": {"sources": ["empty.jsonl"]}}, "data.sources: there are no rows."),
        ({"data": {"sources": ["rows.jsonl"], "test": "empty.jsonl"}}, "data.test: there are no rows."),
        ({"data": {"sources": ["bad.jsonl"]}}, "data.sources: 1 of 1 rows cannot be used"),
        ({"data": {"sources": ["rows.jsonl"], "test": "rows.jsonl"}}, "data.sources holds nothing but the test"),
    ],
)
def test_check_refuses_what_run_refuses(call: Call, tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text("nothing\n")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"text": f"t{n}", "label": "ab"[n % 2]}) + "\n" for n in range(60))
    )
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "a", "data": {"sources": ["rows.jsonl"]}} | change))
    checked, carried = call("check", "recipe.yaml"), call("run", "recipe.yaml")
    assert (checked.code, carried.code) == (2, 2)
    assert problem in checked.err.replace(str(tmp_path), "") and checked.err.strip() in carried.err
