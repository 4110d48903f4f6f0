"""The gate's cases with a tiny real model: read, answered once, judged by a grader or left to people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_evaluate import base, make_run  # noqa: F401  (base is a fixture)

from tunewright.core import checks, storage
from tunewright.core.errors import DataError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import gate, rating
from tunewright.stages.evaluate import evaluate
from tunewright.stages.ratings import Given

LABELS = ("fraud", "rates", "delivery")


def cases(folder: Path, rows: list[dict[str, Any]], **gate: Any) -> dict[str, Any]:
    storage.write_jsonl(folder / "cases.jsonl", rows)
    return {"cases": "cases.jsonl", **gate}


def told(run: Run) -> list[dict[str, Any]]:
    return list(storage.read_jsonl(run.path("evaluate", "cases.jsonl")))


def test_cases_are_answered_once_and_wait_for_people(tmp_path: Path, base: Path) -> None:  # noqa: F811
    held = cases(tmp_path, [{"prompt": f"Is this {label}?", "expected": label} for label in LABELS])
    recipe, run = make_run(tmp_path, base, num_test=6, against=[], gate=held)
    report = evaluate(recipe, run)
    assert [(row["id"], row["prompt"], row["expected"]) for row in told(run)] == [
        (f"cases:{place}", f"Is this {label}?", label) for place, label in enumerate(LABELS, 1)
    ]
    assert all(row["answer"] in LABELS for row in told(run))
    assert (report.verdict, report.numbers["need"], report.numbers["need_of"]) == ("NEED MORE", 3, "ratings")
    assert not [one for one in report.findings if one.name == "no goal"]
    asked = run.path("evaluate", "gate", "answers.cases.jsonl").read_bytes()
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
    report.save(run.path("evaluate"))
    session = rating.session(run, gate=True)
    for place in range(3):
        session.rate("ada", place, Given("rated", dict.fromkeys(session.criteria, True)))
    again = evaluate(recipe, run)
    assert again.numbers["gate"]["passed"] == 3
    assert again.numbers["need_of"] == "cases"
    assert run.path("evaluate", "gate", "answers.cases.jsonl").read_bytes() == asked


def test_cases_that_ask_the_same_are_one(tmp_path: Path, base: Path) -> None:  # noqa: F811
    held = cases(tmp_path, [{"prompt": f"Is this {n % 2}?", "expected": LABELS[n % 3]} for n in range(6)])
    recipe, _ = make_run(tmp_path, base, num_test=6, against=[], gate=held)
    assert recipe.evaluate.gate is not None
    assert [case.id for case in gate.read_cases(recipe, recipe.evaluate.gate)] == ["cases:1", "cases:2"]


def test_a_grader_judges_the_cases(tmp_path: Path, base: Path) -> None:  # noqa: F811
    held = cases(
        tmp_path,
        [{"messages": [{"role": "user", "content": f"{n}?"}], "expected": "fraud"} for n in range(6)],
        by="exact",
        at_least=0.99,
        critical=None,
    )
    recipe, run = make_run(tmp_path, base, num_test=6, against=[], gate=held)
    report = evaluate(recipe, run)
    right = sum(row["answer"] == "fraud" for row in told(run))
    found = report.numbers["gate"]
    assert (found["by"], found["judged"], found["passed"]) == ("exact", 6, right)
    assert found["critical"] is None
    assert [row["passed"] for row in told(run)] == [row["answer"] == "fraud" for row in told(run)]
    assert report.verdict == ("NO-GO" if right < 5 else "NEED MORE")
    with pytest.raises(DataError, match="asks people for no gate"):
        storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
        rating.session(run, gate=True)


def test_a_case_that_cannot_be_read_is_told(tmp_path: Path, base: Path) -> None:  # noqa: F811
    held = cases(tmp_path, [{"prompt": "Yes?", "expected": "yes"}, {"prompt": "", "expected": "no"}])
    recipe, run = make_run(tmp_path, base, num_test=6, against=[], gate=held)
    with pytest.raises(DataError, match=r"evaluate\.gate\.cases"):
        evaluate(recipe, run)


def problems(folder: Path, **evaluate: Any) -> list[str]:
    (folder / "rows.jsonl").touch()
    values = {"name": "x", "data": {"sources": ["rows.jsonl"]}, "evaluate": {"graders": ["exact", "rouge"], **evaluate}}
    return checks.problems(Recipe.parse(values, folder=folder))


def test_what_is_wrong_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, gate={"cases": "missing.jsonl"})
    assert "there is no file" in found and "missing.jsonl" in found
    held = cases(tmp_path, [{"prompt": "a"}])
    assert problems(tmp_path, gate=held) == []
    (found,) = problems(tmp_path, gate=held | {"by": "exakt"})
    assert "Did you mean 'exact'?" in found
    (found,) = problems(tmp_path, gate=held | {"by": "exact"})
    assert "critical" in found
    assert problems(tmp_path, gate=held | {"by": "exact", "critical": None}) == []
    assert problems(tmp_path, gate=held | {"by": "rouge"}) == []
    (found,) = problems(tmp_path, people={"beat": ["bas"]})
    assert "Did you mean 'base'?" in found
