"""What the data tests share: writing small files, and preparing them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages.prepare import prepare

Rows = list[dict[str, Any]]
REAL = Path(os.environ.get("TUNEWRIGHT_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], str]:
    """Write rows as JSON lines; returns the path."""

    def write(name: str, rows: Rows) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., tuple[Report, Run]]:
    """Prepare with the given data options in a run of its own."""
    count = 0

    def prepared(objective: Any = "sft", **data: Any) -> tuple[Report, Run]:
        nonlocal count
        count += 1
        recipe = Recipe.parse({"name": f"run-{count}", "data": data, "objective": objective}, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        return prepare(recipe, run), run

    return prepared


@pytest.fixture
def real() -> Path:
    """The folder of real data; skips without it."""
    if not REAL.is_dir():
        pytest.skip(f"no real data in {REAL}; set TUNEWRIGHT_DATA to try it")
    return REAL
