"""What preparing makes of mixed sources, to the letter: sides, quarantine, findings and the data card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mixed_sources import SCENARIOS, outcome, written

from tunewright.core import checks
from tunewright.core.errors import DataError
from tunewright.core.report import Report
from tunewright.core.run import Run

# Written by a plain implementation that held every row in memory.
GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("prepare_golden.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_mixed_sources_come_out_as_ever(
    name: str, tmp_path: Path, prepared: Callable[..., tuple[Report, Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks.Lacking, "refuse", lambda self: None)  # what an objective needs is held elsewhere
    written(tmp_path)
    try:
        report, run = prepared(**SCENARIOS[name])
        found = outcome(report, run, tmp_path)
    except DataError as error:
        found = {"refused": str(error).replace(str(tmp_path), "FOLDER")}
    assert found == GOLDEN[name]
