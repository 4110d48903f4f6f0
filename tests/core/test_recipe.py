"""A recipe's mistakes are told in its own words, with what was found, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.core.checks import problems
from tunewright.core.errors import NotThere, RecipeError
from tunewright.core.recipe import Recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["A recipe is a mapping of keys, found nothing"]),
        ("- a\n", ["A recipe is a mapping of keys, found a list"]),
        ("name: a\ndata: {sources: [b]\n", ["recipe.yaml is not readable as YAML or JSON: line 3: expected"]),
        ("name: a\ndata: rows.csv\n", ["data: should be a mapping of keys, found 'rows.csv'."]),
        (
            "data: {sources: rows.csv}\ntrain: {lr: fast, batch: 2.5, epochs: -1}\n",
            [
                "data.sources: should be a list, found 'rows.csv'.",
                "train.lr: should be a number, found 'fast'.",
                "train.batch: should be a whole number, found 2.5.",
                "train.epochs: should be greater than 0, found -1.",
            ],
        ),
    ],
)
def test_each_mistake_is_one_plain_sentence(tmp_path: Path, text: str, told: list[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as error:
        Recipe.load(tmp_path / "recipe.yaml")
    assert len(error.value.problems) == len(told)
    for sentence in told:
        assert any(sentence in problem and "\n" not in problem for problem in error.value.problems)


def test_a_recipe_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="no recipe or run"):
        Recipe.load(tmp_path / "nothing.yaml")


def test_going_on_from_nothing_is_found_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    values = {"name": "a", "data": {"sources": ["rows.csv"]}, "model": {"from": "nowhere"}}
    assert problems(Recipe.parse(values, folder=tmp_path)) == [
        "model.from: nowhere is neither a run nor an adapter folder. Paths are relative to the recipe."
    ]


def test_a_part_whose_package_is_missing_is_refused_with_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    values = {"name": "a", "data": {"sources": ["rows.jsonl"]}, "method": "qlora"}
    recipe = Recipe.parse(values, folder=tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert problems(recipe) == [
        "Method 'qlora' needs the package 'bitsandbytes', which is not installed. Run: pip install bitsandbytes"
    ]


def test_an_option_called_off_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: n\ndata:\n  sources: [a.jsonl]\n  checks: [{kind: outliers, off: true}]\ntrain: {share: yes}\n"
    )
    recipe = Recipe.load(path, ["data.fix=[off]"])
    assert "outliers" not in [part.kind for part in recipe.the_detectors()]
    assert recipe.data.fix == ["off"] and recipe.train.share is True
