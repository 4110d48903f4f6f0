"""tunewright train A B C: one report each, and the first exit code that is not 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import NotThere
from tunewright.core.report import ProofResult, Report
from tunewright.stages import flow
from tunewright.stages.flow import Outcome

Call = Callable[..., Any]  # the fixture of conftest.py
BROKEN = ProofResult(name="merge", claim="merged == base + adapter", measured=0.5, bound=1e-5, holds=False)
GOOD, BAD = Report(stage="train", run="good"), Report(stage="train", run="bad", proofs=[BROKEN])


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome("good", GOOD), Outcome("good", GOOD)], 0),
        ([Outcome("good", GOOD), Outcome("bad", BAD)], 3),
        ([Outcome("lost", error=NotThere("There is no model 'x'.")), Outcome("bad", BAD)], 2),
        ([Outcome("good", GOOD), Outcome("lost", error=ZeroDivisionError("a bug"))], 1),
    ],
)
def test_each_outcome_is_told(
    call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], code: int
) -> None:
    monkeypatch.setattr(flow, "train_many", lambda recipes, **_: outcomes)
    ended = call("train", str(recipe), str(recipe))
    assert ended.code == code
    for outcome in outcomes:
        assert outcome.run in ended.out
        assert outcome.error is None or (f"{outcome.run}: " in ended.err and str(outcome.error) in ended.err)
    assert ("This is a bug" in ended.err) == (code == 1)
    ended = call("train", str(recipe), str(recipe), "--json")
    assert ended.code == code
    rows = json.loads(ended.out)
    assert [row["run"] for row in rows] == [outcome.run for outcome in outcomes]
    assert ["error" in row for row in rows] == [outcome.error is not None for outcome in outcomes]


def test_one_recipe_is_trained_as_ever(call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "train", lambda recipe, **_: GOOD)
    assert json.loads(call("train", str(recipe), "--json").out)["run"] == "good"
