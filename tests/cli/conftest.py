"""Runs the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunewright.cli import main

RECIPE = """
name: tickets
data:
  sources: [rows.jsonl]
  format: labels
"""
ROWS = '{"text": "where is my card", "label": "card"}\n{"text": "send money", "label": "transfer"}\n'


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Call `tunewright ARGUMENTS` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tunewright", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        code = end.value.code
        return Ended(code if isinstance(code, int) else 0, told.out, told.err)

    return run


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small recipe with its rows."""
    (tmp_path / "rows.jsonl").write_text(ROWS)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"
