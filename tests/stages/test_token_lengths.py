"""What rows are in tokens is told while preparing, when the recipe names a model; without one nothing is opened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.stages.prepare import prepare


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., tuple[Report, dict[str, Finding]]]:
    """Prepare conversations, with more keys of the recipe."""
    words = [f"word{n}" for n in range(40)]
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": f"Ask {n} {word}"}, {"role": "assistant", "content": f"Tell {n}"}]}
        for n, word in enumerate(words)
    ]
    rows[5]["messages"][1]["content"] = "a long answer " * 60
    rows[9]["messages"][0]["content"] = "a long question " * 60
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(**keys: Any) -> tuple[Report, dict[str, Finding]]:
        data = {"sources": ["rows.jsonl"], "split": {"train": 1, "validation": 0, "test": 0}}
        recipe = Recipe.parse({"name": "run", "data": data, **keys}, folder=tmp_path)
        report = prepare(recipe, Run.begin(recipe, runs=tmp_path / "runs", fresh=True))
        return report, {finding.name: finding for finding in report.findings}

    return run


def test_cut_rows_and_rows_that_teach_nothing_are_named(prepared: Callable, tiny: Callable[[str], Path]) -> None:
    report, found = prepared(model=str(tiny("llama")), train={"max_tokens": 200})
    assert [place.line for place in found["truncated_rows"].rows] == [6]
    assert [place.line for place in found["no_learned_token"].rows] == [10]
    assert "1 of them because they are too long" in found["no_learned_token"].message
    tokens = report.numbers["tokens"]
    assert (tokens["limit"], tokens["truncated"], tokens["without_learned"]) == (200, 1, 1)
    assert tokens["rows"]["max"] == 200 and 0 < tokens["learned_share"] < 1


def test_the_model_s_own_context_is_the_limit_where_none_is_given(
    prepared: Callable, tiny: Callable[[str], Path]
) -> None:
    report, found = prepared(model=str(tiny("llama")))
    assert report.numbers["tokens"]["limit"] == 512
    assert {"truncated_rows", "no_learned_token"} <= found.keys()


def test_rows_that_fit_are_no_finding(prepared: Callable, tiny: Callable[[str], Path]) -> None:
    _, found = prepared(model=str(tiny("llama")), train={"max_tokens": 2000})
    assert not {"truncated_rows", "no_learned_token", "tokens_not_counted"} & found.keys()


def test_a_model_that_is_not_there_is_told_and_the_rest_is_prepared(prepared: Callable) -> None:
    report, found = prepared(model="./not-there")
    assert report.numbers["rows_kept"] == 40 and found["tokens_not_counted"].severity == "info"


def test_without_a_model_nothing_is_opened(tmp_path: Path) -> None:
    rows = [{"text": f"text {n} of class", "label": str(n % 2)} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = (
        "import sys; from pathlib import Path; from tunewright.core.recipe import Recipe; from tunewright.core.run "
        "import Run; from tunewright.stages.prepare import prepare\n"
        f"data = {{'sources': ['rows.jsonl']}}; folder = Path({str(tmp_path)!r})\n"
        "recipe = Recipe.parse({'name': 'r', 'data': data}, folder=folder)\n"
        f"report = prepare(recipe, Run.begin(recipe, runs={str(tmp_path / 'runs')!r}))\n"
        "assert 'tokens' not in report.numbers and not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
