"""What evaluation would stumble over is told before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_evaluate import row

from tunewright.core import catalog, storage
from tunewright.core.errors import DataError, RecipeError, TunewrightError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages.trying import try_later_stages


def prepared(folder: Path, **evaluate: Any) -> tuple[Recipe, Run]:
    values = {"name": "tiny", "data": {"sources": [str(folder / "rows.jsonl")]}, "method": "lora", "evaluate": evaluate}
    recipe = Recipe.parse(values, folder=folder)
    run = Run.begin(recipe, runs=folder / "runs")
    for split in ("train", "validation", "test"):
        storage.write_jsonl(run.path("data", f"{split}.jsonl"), [row(number, "rates") for number in range(3)])
    return recipe, run


@pytest.mark.parametrize(
    ("evaluate", "told"),
    [
        ({"slice": "colour"}, r"evaluate\.slice: no test row has a column 'colour'\. Columns: choices, place, source"),
        ({"clusters": "colour"}, r"evaluate\.clusters: no test row has a column 'colour'"),
        ({"graders": [{"kind": "choice", "options": "colour"}]}, "the column 'colour', which row q:0 lacks"),
        ({"graders": [{"kind": "code", "program": "{colour}"}]}, "looks for 'colour' of program in row q:0"),
        ({"graders": [{"kind": "grounded", "passages": "colour"}]}, "Such columns: choices, place, source"),
        ({"graders": [{"kind": "similarity", "encoder": "colour"}]}, "no model 'colour'"),
        ({"against": [{"kind": "few_shot", "examples": ["q:9"]}]}, "no training row has the id 'q:9'"),
        ({"against": [{"kind": "prompt", "examples": ["q:9"]}]}, "no training row has the id 'q:9'"),
        ({"graders": ["agreement"]}, "needs grades in order, found 'rates'"),
        (
            {"graders": ["regression"], "goal": {"grader": "regression", "at_least": 0.5}},
            "'regression' has nothing to grade",
        ),
    ],
)
def test_what_the_test_rows_lack_is_told_before_training(tmp_path: Path, evaluate: dict[str, Any], told: str) -> None:
    with pytest.raises(TunewrightError, match=told):
        try_later_stages(*prepared(tmp_path, **evaluate))


def test_a_function_of_the_users_is_tried(tmp_path: Path) -> None:
    (tmp_path / "grading.py").write_text("def grade(example, answer):\n    return 7\n")
    grader = {"kind": "python", "path": str(tmp_path / "grading.py"), "function": "grade"}
    with pytest.raises(DataError, match="q:0"):
        try_later_stages(*prepared(tmp_path, graders=[grader]))


def test_no_server_is_asked_and_what_fits_passes(tmp_path: Path) -> None:
    judge = {"kind": "judge", "endpoint": {"url": "http://127.0.0.1:1/v1", "model": "none"}}
    graders = ["exact", "perplexity", {"kind": "choice", "options": "choices"}, judge]
    try_later_stages(*prepared(tmp_path, graders=graders, slice="source", clusters="source"))


@pytest.mark.parametrize(
    ("family", "choice", "told"),
    [
        ("graders", {"kind": "judge"}, "judge.endpoint is missing. Give it."),
        ("contestants", {"kind": "few_shot", "model": "x"}, "few_shot.model: should be 'base' or 'tuned', found 'x'."),
    ],
)
def test_options_are_told_in_plain_words(family: str, choice: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        catalog.build(family, choice)
    assert told in caught.value.problems
