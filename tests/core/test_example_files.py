"""Examples are read back from their lines as they were written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.example import Example
from tunewright.core.example_files import ExampleFiles


def deep(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [
    10**30, -0.0, 1e-320, 0.1 + 0.2, 1e308, "\u2028 \x7f \U0001f600 \"\\/", {"": None, "a": [True, {"b": 1.0}]},
    [1, 1.0, "1"], deep(150), deep(600),
])  # fmt: skip
def test_columns_come_back_to_the_letter(value: Any, tmp_path: Path) -> None:
    line = json.dumps({"id": "a", "text": "t", "meta": {"x": value}}, ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(line + "\n", encoding="utf-8")
    found = ExampleFiles(tmp_path / "a.jsonl")[0]
    assert found == Example.model_validate(json.loads(line))
    assert json.dumps(found.to_row(), ensure_ascii=False) == line


def test_what_is_no_number_comes_back_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "meta": {"x": NaN, "y": -Infinity}}\n', encoding="utf-8")
    meta = ExampleFiles(tmp_path / "a.jsonl")[0].meta
    assert math.isnan(meta["x"]) and meta["y"] == -math.inf
