"""Deploying without a GO: refused with the verdict's reason and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.core.errors import Refused
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report, Verdict
from tunewright.core.run import Run
from tunewright.stages.deploy import deploy


@pytest.mark.parametrize(("verdict", "code"), [("NO-GO", 3), ("NEED MORE", 4)])
def test_a_refused_release_ends_with_the_code_of_its_verdict(tmp_path: Path, verdict: Verdict, code: int) -> None:
    recipe = Recipe.parse({"name": "desk", "data": {"sources": ["rows.jsonl"]}}, folder=tmp_path)
    run = Run.begin(recipe, runs=tmp_path / "runs")
    Report(stage="evaluate", run="desk", verdict=verdict, reason="exact is 0.500.").save(run.path("evaluate"))
    with pytest.raises(Refused, match=f"the verdict is {verdict}. exact is 0.500") as refused:
        deploy(recipe, run)
    assert refused.value.exit_code == code
    assert not run.releases()
