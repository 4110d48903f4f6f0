"""retrieval: the untuned model is given passages as training rows are, and the recipe says which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import catalog, checks
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import Recipe
from tunewright.stages import flow, starting

DOCUMENTS = [{"id": "zoo", "text": "The zoo opens at ten."}, {"id": "bank", "text": "The bank opens at nine."}]
ASKED = Example(
    id="q",
    messages=[
        Message(role="system", content="Be brief."),
        Message(role="user", content="When does the bank open?"),
        Message(role="assistant", content="At nine."),
    ],
)


@pytest.fixture
def documents(tmp_path: Path) -> str:
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in DOCUMENTS))
    return str(path)


def test_passages_stand_before_the_question(documents: str) -> None:
    part = catalog.build("contestants", {"kind": "retrieval", "documents": [documents], "passages": 1})
    assert part.prompts([ASKED], []) == [
        [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": "[1] The bank opens at nine.\n\n"
                "Answer from these passages and add the names of those you use, in brackets.\n\n"
                "Question: When does the bank open?",
            },
        ]
    ]
    with pytest.raises(DataError, match="no passages for row q"):
        catalog.build("contestants", "retrieval").prompts([ASKED], [])


def recipe(tmp_path: Path, data: dict[str, Any] | None = None, **values: Any) -> Recipe:
    (tmp_path / "rows.jsonl").touch()
    return Recipe.parse({"name": "a", "data": {"sources": ["rows.jsonl"], **(data or {})}, **values}, folder=tmp_path)


OWN = {"retrieval": {"documents": ["documents.jsonl"]}}


@pytest.mark.parametrize(
    ("data", "values", "problem"),
    [
        ({"retrieval": {"documents": ["none.md"]}}, {}, "data.retrieval: documents: there is no file or folder"),
        (OWN, {"objective": "pretrain"}, "data.retrieval makes rows for the objective 'sft', found 'pretrain'"),
        (OWN, {"evaluate": {"against": ["base", "retrieval"]}}, "so 'retrieval' asks the same"),
        ({}, {"evaluate": {"against": ["retrieval"]}}, "'retrieval' has nothing to search"),
        ({}, {"evaluate": {"graders": ["cites"]}}, "'cites' grades citations of passages"),
        ({"fields": {"gold": "passage"}}, {}, "data.fields: 'gold' names a passage"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    data: dict[str, Any], values: dict[str, Any], problem: str, tmp_path: Path, documents: str
) -> None:
    found = checks.problems(recipe(tmp_path, data, **values))
    assert len(found) == 1 and problem in found[0]


@pytest.mark.parametrize("against", [["base"], ["retrieval"], ["base", {"kind": "retrieval", "passages": 2}]])
def test_what_can_be_is_let_through(against: list[Any], tmp_path: Path, documents: str) -> None:
    if len(against) > 1:
        against[1]["documents"] = ["documents.jsonl"]
    made = recipe(tmp_path, OWN, evaluate={"against": against, "graders": ["cites"]})
    assert checks.problems(made) == []
    assert made.data.retrieval is not None and made.data.retrieval.documents == [documents]
    for part in made.the_contestants():
        if len(against) > 1 and part.kind == "retrieval":
            assert part.documents == [documents]  # type: ignore[attr-defined]


def test_options_are_told_in_words_of_the_recipe(tmp_path: Path, documents: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(tmp_path, {"retrieval": {"documents": ["documents.jsonl"], "template": "no", "keep_god": 1}})
    assert any("data.retrieval.template" in one and "{passages} and {question}" in one for one in caught.value.problems)
    assert any("Did you mean 'keep_gold'" in one for one in caught.value.problems)


def test_the_starter_prepares(tmp_path: Path, documents: str) -> None:
    rows = [
        {"prompt": f"When does the {one['id']} open on day {n}?", "completion": "Then.", "passage": one["id"]}
        for n in range(20)
        for one in DOCUMENTS
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    starting.init(tmp_path / "recipe.yaml", template="retrieval")
    report = flow.prepare(tmp_path / "recipe.yaml", runs=tmp_path / "runs")
    assert report.numbers["retrieval"]["gold"] == {"given": 40, "found": 0, "unknown": 0}
    assert report.numbers["retrieval"]["recall"]["4"] == 1
    again = flow.prepare(tmp_path / "recipe.yaml", runs=tmp_path / "runs")
    assert again.inputs == report.inputs
    Path(documents).write_text(Path(documents).read_text() + '{"text": "The zoo is closed."}\n')
    changed = flow.prepare(tmp_path / "recipe.yaml", runs=tmp_path / "runs")
    assert changed.inputs != report.inputs and changed.numbers["retrieval"]["passages"] == 3
