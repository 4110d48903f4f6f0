"""docs/recipe.md says what the recipe's models say, and nothing else."""

from __future__ import annotations

import ast
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tunewright.core.recipe import Recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe_page", ROOT / "scripts" / "recipe_page.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "Run: python scripts/recipe_page.py"


def test_every_key_is_on_the_page(script: ModuleType) -> None:
    def keys(values: dict, prefix: str = "") -> list[str]:
        inner = [(key, value) for key, value in values.items() if isinstance(value, dict)]
        return [prefix + key for key in values] + [k for key, value in inner for k in keys(value, f"{prefix}{key}.")]

    recipe = Recipe.model_validate({"name": "r", "data": {"sources": ["x"]}, "evaluate": {"goal": {"grader": "exact"}}})
    missing = [key for key in keys(recipe.to_dict()) if f"`{key}`" not in script.page()]
    assert not missing


def test_the_keys_said_to_be_filled_are_those_that_choose_fills(script: ModuleType) -> None:
    stages = ROOT / "src" / "tunewright" / "stages"
    trees = [ast.parse((stages / name).read_text(encoding="utf-8")) for name in ("choose.py", "fitting.py")]
    filled = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "take" and all(isinstance(arg, ast.Constant) for arg in node.args[:2]):
                filled.add(".".join(arg.value for arg in node.args[:2]))  # type: ignore[attr-defined]
            elif node.func.attr == "take_method":
                filled.add("method")
    assert filled - {"train.device", "train.dtype"} == script.FILLED_KEYS  # those two stand at 'auto' before


def test_the_example_on_the_page_is_a_recipe(script: ModuleType, tmp_path: Path) -> None:
    text = script.INTRO.split("```yaml\n")[1].split("```")[0]
    recipe = Recipe.parse(yaml.safe_load(text), folder=tmp_path)
    assert recipe.the_method().kind == "lora"
    assert [grader.kind for grader in recipe.the_graders()] == ["exact", "label_f1"]
    assert os.path.isabs(recipe.data.sources[0])
