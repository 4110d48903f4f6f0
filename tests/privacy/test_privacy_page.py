"""docs/privacy.md shows code that runs, and names every type and action."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tunewright.core.scrubbing import ACTIONS, TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/privacy.md", "exec"), {})


def test_every_type_and_action_is_named() -> None:
    assert not [name for name in (*TYPES, *ACTIONS) if f"`{name}`" not in PAGE]
