"""A phase's recipe is the outer one with the phase's values over it; mistakes are told with the phase's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunewright.core import phases
from tunewright.core.checks import problems
from tunewright.core.errors import RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.schema import schema


@pytest.fixture
def parse(tmp_path: Path) -> Any:
    for name in ("demos", "pairs", "test", "general"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a", "label": "b"}\n')

    def parsed(*given: dict[str, Any], **outer: Any) -> Recipe:
        values = {
            "name": "assistant",
            "data": {"sources": ["demos.jsonl"], "test": "test.jsonl", "split": {"train": 0.8, "test": 0.05}},
            "train": {"epochs": 2, "lr": 0.01},
            "method": "lora",
            "phases": list(given),
            **outer,
        }
        return Recipe.parse(values, folder=tmp_path)

    return parsed


def test_a_phase_takes_the_outer_values_and_its_own_over_them(parse: Any, tmp_path: Path) -> None:
    recipe = parse(
        {"name": "sft", "train": {"steps": 5}},
        {"name": "prefer", "data": {"sources": ["pairs.jsonl"]}, "objective": "pretrain", "method": "full"},
        evaluate={"graders": ["exact"], "goal": {"grader": "exact", "at_least": 0.5}},
    )
    sft, prefer = phases.resolved(recipe, tmp_path / "children")
    assert (sft.recipe.name, prefer.recipe.name) == ("01-sft", "02-prefer")
    assert sft.recipe.train.steps == 5 and sft.recipe.train.epochs is None and sft.recipe.train.lr == 0.01
    assert sft.recipe.data == recipe.data
    assert prefer.recipe.train == recipe.train
    assert prefer.recipe.data.sources == [str(tmp_path / "pairs.jsonl")]
    assert prefer.recipe.data.test is None, "test rows belong to their sources"
    assert prefer.recipe.data.split == recipe.data.split, "what asks the same falls on the same side in every phase"
    assert (prefer.recipe.method, sft.recipe.method) == ("full", "lora")
    assert sft.recipe.model.start is None
    assert prefer.recipe.model.start == str(tmp_path / "children" / "01-sft")
    assert prefer.parents == ("sft",)
    assert prefer.recipe.evaluate.goal is None and not prefer.recipe.phases


def test_a_phase_may_start_elsewhere_and_name_another_s_folder(parse: Any, tmp_path: Path) -> None:
    recipe = parse(
        {"name": "sft"},
        {"name": "general", "retention": {"kind": "replay", "sources": ["general.jsonl"]}},
        {"name": "again", "from": "sft", "retention": [{"kind": "ewc", "runs": [{"phase": "general"}]}]},
        {"name": "alone", "from": "base"},
    )
    found = {phase.name: phase for phase in phases.resolved(recipe, tmp_path / "children")}
    assert found["again"].recipe.model.start == str(tmp_path / "children" / "01-sft")
    assert found["again"].recipe.retention == [{"kind": "ewc", "runs": [str(tmp_path / "children" / "02-general")]}]
    assert found["general"].recipe.retention == [{"kind": "replay", "sources": [str(tmp_path / "general.jsonl")]}]
    assert found["alone"].recipe.model.start is None and found["alone"].parents == ()
    again = Recipe.parse(recipe.to_dict(), folder=Path("/elsewhere"))
    assert phases.resolved(again, tmp_path / "children") == list(found.values()), "a recipe written out means the same"
    assert problems(recipe) == []


def test_what_an_outer_retention_keeps_is_the_phases_before(parse: Any, tmp_path: Path) -> None:
    recipe = parse({"name": "a"}, {"name": "b"}, {"name": "c"}, retention="ewc")
    first, second, third = phases.resolved(recipe, tmp_path)
    assert first.recipe.retention == [], "nothing has been learned before"
    assert second.recipe.retention == [{"kind": "ewc", "runs": [str(tmp_path / "01-a")]}]
    assert third.recipe.the_retention()[0].runs == [str(tmp_path / "01-a"), str(tmp_path / "02-b")]


def test_left_out_data_is_the_last_phase_s(parse: Any, tmp_path: Path) -> None:
    values = {"name": "a", "phases": [{"name": "x"}, {"name": "y", "data": {"sources": ["pairs.jsonl"]}}]}
    assert Recipe.parse(values, folder=tmp_path).data.sources == [str(tmp_path / "pairs.jsonl")]
    with pytest.raises(RecipeError, match="data is missing"):
        Recipe.parse({"name": "a", "phases": [{"name": "x"}]}, folder=tmp_path)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"objective": "sft"}], "phase 1: name: None cannot name a phase"),
        ([{"name": "a"}, {"name": "a"}], "phase 2: name: 'a' cannot name a phase"),
        ([{"name": "base"}], "phase 1: name: 'base' cannot name a phase"),
        ([{"name": "a"}, {"name": "b", "from": "c"}], "phase 'b': from: Unknown earlier phase 'c'"),
        (
            [{"name": "a", "objective": {"kind": "sft", "learn": {"phase": "b"}}}, {"name": "b"}],
            "phase 'a': {phase: b}",
        ),
        ([{"name": "a", "trian": {}}], "phase 'a': Unknown key in the recipe 'trian'. Did you mean 'train'?"),
        ([{"name": "a", "phases": []}], "phase 'a': phases: a phase has no phases of its own"),
        ([{"name": "a", "data": {"sources": ["gone.jsonl"]}}], "phase 'a': data.sources: there is no file"),
        (
            [{"name": "a"}, {"name": "b", "method": "full", "retention": "orthogonal"}],
            "phase 'b': retention.orthogonal",
        ),
        (
            [{"name": "a", "method": "full"}, {"name": "b", "retention": "orthogonal"}],
            "phase 'b': retention.orthogonal: needs the method lora, found full in the phase 'a'.",
        ),
        (
            [{"name": "a"}, {"name": "b", "method": None, "retention": "orthogonal"}],
            "phase 'b': retention.orthogonal: needs the method lora, found none named here.",
        ),
        ([{"name": "a"}, {"name": "b", "train": {"lr": "fast"}}], "phase 'b': train.lr: should be a number"),
    ],
)
def test_a_mistake_is_told_with_the_phase_s_name(parse: Any, given: list[dict[str, Any]], told: str) -> None:
    found = problems(parse(*given))
    assert [problem for problem in found if problem.startswith(told)], found


def test_all_problems_of_all_phases_are_told_at_once(parse: Any) -> None:
    found = problems(
        parse({"name": "a", "objective": "sftt"}, {"name": "b", "from": "z"}, {"name": "c", "method": "x"})
    )
    assert [problem.split(":")[0] for problem in found] == ["phase 'b'", "phase 'a'", "phase 'c'"]


def test_retention_without_anything_to_keep_is_found_before_any_work(parse: Any, tmp_path: Path) -> None:
    recipe = parse(retention=["ewc", {"kind": "replay", "runs": ["nowhere"]}])
    found = problems(recipe)
    assert found[0].startswith("retention.ewc: nothing to keep is named.")
    assert found[1].startswith("retention.replay.runs: nowhere is no run's folder.")
    assert "retention" in schema()["properties"]


def test_an_outer_retention_is_held_against_the_methods_of_the_phases(parse: Any) -> None:
    phased = [{"name": "a", "method": "lora"}, {"name": "b", "method": "lora"}]
    assert problems(parse(*phased, method=None, retention="orthogonal")) == []
