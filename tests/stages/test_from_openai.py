"""Settings of OpenAI's jobs become keys of a recipe that passes the check, and none is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunewright.core import checks
from tunewright.core.errors import RecipeError
from tunewright.core.recipe import Recipe
from tunewright.stages.from_openai import recipe_values

STRING = {"type": "string_check", "name": "same", "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
          "operation": "eq"}  # fmt: skip
SCORE = {"type": "score_model", "name": "score", "model": "gpt-4o", "range": [0, 10],
         "input": [{"role": "user", "content": "{{sample.output_text}}"}]}  # fmt: skip
COSINE = {"type": "text_similarity", "name": "near", "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
          "evaluation_metric": "cosine"}  # fmt: skip


def made(method: dict[str, Any], folder: Path, **options: Any) -> Recipe:
    (folder / "rows.jsonl").touch()
    values = recipe_values(method, **options).values
    recipe = Recipe.parse({"name": "try", "data": {"sources": ["rows.jsonl"]}, **values}, folder=folder)
    checks.check(recipe)
    return recipe


def test_what_is_auto_is_left_to_choose(tmp_path: Path) -> None:
    for method in ({}, {"type": "supervised"}, {"type": "supervised", "supervised": {"hyperparameters": {
        "n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}}}):  # fmt: skip
        recipe = made(method, tmp_path)
        assert recipe.objective == "sft"
        assert (recipe.train.epochs, recipe.train.batch, recipe.train.lr_multiplier) == (None, None, 1.0)


def test_numbers_are_carried_over(tmp_path: Path) -> None:
    given = {"n_epochs": 4, "batch_size": 2, "learning_rate_multiplier": 1.8, "beta": 0.3}
    recipe = made({"type": "dpo", "dpo": {"hyperparameters": given}}, tmp_path)
    assert recipe.objective == {"kind": "dpo", "beta": 0.3}
    assert (recipe.train.epochs, recipe.train.batch, recipe.train.lr_multiplier) == (4, 2, 1.8)


def test_reinforcement_rewards_and_evaluates_by_its_grader(tmp_path: Path) -> None:
    given = {"compute_multiplier": 2, "eval_interval": 5, "eval_samples": 3, "reasoning_effort": "high"}
    method = {"type": "reinforcement", "reinforcement": {"grader": STRING, "hyperparameters": given}}
    recipe = made(method, tmp_path)
    assert recipe.objective == {"kind": "grpo", "reward": {"kind": "openai", "grader": STRING}, "group": 16}
    assert recipe.evaluate.graders == [{"kind": "openai", "grader": STRING}]
    assert (recipe.train.evaluate_every, recipe.evaluate.samples, recipe.evaluate.temperature) == (5, 3, 1.0)
    assert list(recipe_values(method).left) == ["reasoning_effort"]


@pytest.mark.parametrize(("multiplier", "group"), [(0.0001, 2), (0.5, 4), (1, 8), (10, 80)])
def test_compute_is_answers_to_a_prompt(multiplier: float, group: int) -> None:
    method = {"type": "reinforcement", "reinforcement": {"grader": STRING, "hyperparameters": {
        "compute_multiplier": multiplier}}}  # fmt: skip
    assert recipe_values(method).values["objective"]["group"] == group


def test_graders_that_ask_a_model_know_where(tmp_path: Path) -> None:
    method = {"type": "reinforcement", "reinforcement": {"grader": SCORE}}
    assert recipe_values(method).values["objective"]["reward"]["endpoint"]["url"] == "https://api.openai.com/v1"
    recipe = made(method, tmp_path, endpoint={"url": "http://127.0.0.1:1/v1", "model": "judge"})
    assert recipe.the_objective().model_dump()["reward"]["endpoint"]["model"] == "judge"


def test_cosine_knows_its_encoder(tmp_path: Path) -> None:
    method = {"type": "reinforcement", "reinforcement": {"grader": COSINE}}
    assert made(method, tmp_path, encoder="bert").evaluate.graders[0]["encoder"] == "bert"  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    "method",
    [
        {"type": "magic"},
        {"type": "reinforcement"},
        {"type": "reinforcement", "reinforcement": {"grader": {"type": "nothing"}}},
        {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "many"}}},
    ],
)
def test_what_cannot_be_is_told(method: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        recipe_values(method)
