"""Openings of a test set are counted beside the runs, whatever the run's name, and a sealed set stays closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunewright.core import storage
from tunewright.core.errors import RunError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.graders.exact import Exact
from tunewright.stages import openings


def example(number: int, answer: str = "yes") -> Example:
    said = [Message(role="user", content=f"question {number}"), Message(role="assistant", content=answer)]
    return Example(id=f"test:{number}", messages=said)


TEST = [example(number) for number in range(5)]


def frozen(model: str = "m", test: list[Example] = TEST, *, folded: bool = True) -> openings.Frozen:
    return openings.frozen(test, [Exact(normalise=folded)], model=model, decode={"kind": "generate"})


def begun(folder: Path, name: str = "desk", limit: int | None = None, *, fresh: bool = False) -> tuple[Recipe, Run]:
    values = {"name": name, "data": {"sources": ["rows.jsonl"]}, "evaluate": {"openings": limit}}
    recipe = Recipe.parse(values, folder=folder)
    return recipe, Run.begin(recipe, runs=folder / "runs", fresh=fresh)


def test_the_hash_is_of_what_the_rows_say_and_of_nothing_else() -> None:
    renamed = [one.model_copy(update={"id": f"other:{place}", "meta": {"a": 1}}) for place, one in enumerate(TEST)]
    assert frozen(test=renamed[::-1]).test_set == frozen().test_set
    assert frozen(test=[*TEST[:-1], example(4, "no")]).test_set != frozen().test_set
    assert frozen(test=TEST[:-1]).test_set != frozen().test_set
    assert frozen(folded=False).graders != frozen().graders
    assert frozen().key != frozen("another").key


def test_asking_the_same_again_is_no_opening_and_anything_new_is(tmp_path: Path) -> None:
    _, run = begun(tmp_path)
    assert [openings.opened(run, frozen()) for _ in range(3)] == [1, 1, 1]
    assert openings.opened(run, frozen("tuned again")) == 2
    assert openings.opened(run, frozen(folded=False)) == 3
    assert openings.opened(run, frozen(test=TEST[:-1])) == 1  # another test set
    assert len(list(storage.read_jsonl(tmp_path / "runs" / "openings.jsonl"))) == 4


def test_a_fresh_start_and_another_name_begin_no_new_count(tmp_path: Path) -> None:
    for number, (name, fresh) in enumerate([("desk", False), ("desk", True), ("other", False)], 1):
        _, run = begun(tmp_path, name, fresh=fresh)
        assert openings.opened(run, frozen(f"model {number}")) == number
    assert "question" not in (tmp_path / "runs" / "openings.jsonl").read_text()


def test_a_phase_counts_with_its_run(tmp_path: Path) -> None:
    _, run = begun(tmp_path)
    child = Run(run.path("children", "first"))
    storage.write_json(child.path("run.json"), {"name": "first"})
    assert openings.opened(run, frozen()) == 1
    assert openings.opened(child, frozen("child")) == 2


def test_a_sealed_set_is_opened_so_often_and_no_more(tmp_path: Path) -> None:
    recipe, run = begun(tmp_path, limit=2)
    for model in ("a", "b"):
        openings.refuse_sealed(recipe, run, frozen(model))
        openings.opened(run, frozen(model))
    openings.refuse_sealed(recipe, run, frozen("a"))  # seen before
    with pytest.raises(RunError, match=r"opened 2 times .*seals it after 2.*Bring test rows that are new") as refused:
        openings.refuse_sealed(recipe, run, frozen("c"))
    assert refused.value.exit_code == 2


def test_many_openings_are_told_with_what_they_do_to_the_level() -> None:
    assert openings.findings(4, 0.05, still=True) == []
    found = openings.findings(10, 0.05, still=False)[0]
    assert "opened 10 times" in found.message
    assert "a chance of up to 22%, not 2.5%" in found.message  # 1 - 0.975^10
    assert "0.005" in found.message
    json.dumps(found.model_dump())
