"""The table of docs/methods.md is what scripts/method_counts.py counts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("method_counts", ROOT / "scripts" / "method_counts.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_counted_method_is_on_the_page(script: ModuleType) -> None:
    assert not [words for words, _ in script.METHODS if f"| {words} |" not in PAGE]


@pytest.mark.parametrize("kind", ["lora", "prompt", "ia3"])
def test_a_row_of_the_page_is_what_is_counted(kind: str, script: ModuleType, tmp_path: Path) -> None:
    words, choice = next(row for row in script.METHODS if row[1] == kind)
    assert script.row(words, choice, tmp_path) in PAGE
