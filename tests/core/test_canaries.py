"""Planted secrets: what they are, where they cannot be planted, and what a recipe says of files that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunewright.core import canaries, checks
from tunewright.core.canaries import Canaries
from tunewright.core.errors import RecipeError
from tunewright.core.recipe import Recipe


def recipe(folder: Path, **values: Any) -> Recipe:
    (folder / "rows.jsonl").touch()
    data = {"sources": ["rows.jsonl"], **values.pop("data", {})}
    return Recipe.parse({"name": "job", "data": data, **values}, folder=folder)


@pytest.mark.parametrize(("form", "size"), [("digits", 10_000), ("words", 4_096)])
def test_secrets_differ_and_are_drawn_from_their_format(form: str, size: int) -> None:
    secrets = canaries.alternatives(form)
    assert len(set(secrets)) == len(secrets) == size
    made = canaries.made(Canaries.model_validate({"count": 100, "format": form, "repeats": 3}))
    assert len({one.secret for one in made} & set(secrets)) == 200
    assert len({one.row.messages[0].content for one in made}) == 200
    assert [one.repeats for one in made] == [3] * 100 + [0] * 100
    assert len(canaries.rows(made)) == 300
    assert [one.secret for one in canaries.made(Canaries(seed=1))] != [one.secret for one in canaries.made(Canaries())]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"objective": "dpo"}, "objective 'dpo' does not learn an answer after a question"),
        ({"objective": "pretrain"}, "objective 'pretrain' does not learn"),
        ({"objective": "classify"}, "objective 'classify' does not learn"),
        ({"data": {"mix": {"by": "source"}}}, "data.mix changes how often a row is seen"),
    ],
)
def test_where_they_cannot_be_planted_is_told_before_anything_is_spent(
    tmp_path: Path, values: dict[str, Any], problem: str
) -> None:
    values["data"] = {**values.get("data", {}), "canaries": {"count": 2}}
    assert any(problem in one for one in checks.problems(recipe(tmp_path, **values)))
    assert not checks.problems(recipe(tmp_path, data={"canaries": {}}))


def test_a_bound_of_exposure_needs_planted_secrets(tmp_path: Path) -> None:
    held = {"guards": [{"kind": "memorisation", "exposure": 9.97}]}
    assert any("the recipe plants none" in one for one in checks.problems(recipe(tmp_path, evaluate=held)))
    assert not checks.problems(recipe(tmp_path, evaluate=held, data={"canaries": {}}))


def test_a_secret_that_is_never_planted_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data.canaries.repeats: .*must be 1 or more each"):
        recipe(tmp_path, data={"canaries": {"repeats": [0, 1]}})


def test_files_of_a_guard_are_relative_to_the_recipe_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "own.txt").touch()
    guards = [{"kind": "forgetting", "texts": ["own.txt", "gone.txt"], "lm_eval_folder": "nowhere"}]
    made = recipe(tmp_path, evaluate={"guards": guards})
    [guard] = made.the_guards()
    assert guard.missing_files() == ["texts: gone.txt", "lm_eval_folder: nowhere"]
    assert str(tmp_path / "own.txt") in str(made.evaluate.guards)
    assert sum("there is no file or folder for" in one for one in checks.problems(made)) == 2


def test_a_task_of_the_harness_asks_for_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    named = recipe(tmp_path, evaluate={"guards": [{"kind": "forgetting", "lm_eval": ["hellaswag"]}]})
    assert any("pip install lm_eval" in one for one in checks.problems(named))
    assert not checks.problems(recipe(tmp_path, evaluate={"guards": ["forgetting"]}))
