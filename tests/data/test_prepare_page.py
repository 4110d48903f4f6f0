"""docs/prepare.md shows rows, findings and options that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tunewright.core.recipe import DataOptions
from tunewright.data.formats import FORMATS, detect, to_example
from tunewright.data.readers import READERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "prepare.md").read_text()


def test_each_format_is_shown_with_a_row_that_is_read_as_such() -> None:
    shown = dict(re.findall(r"^\| `(\w+)` \| `(\{.*?\})` \|", PAGE, re.MULTILINE))
    assert shown.keys() == FORMATS.keys()
    for format, text in shown.items():
        row = json.loads(text)
        assert detect([row], {}) == format
        assert to_example(format, row, {}, "a:1").to_row()["id"] == "a:1"


def test_every_finding_ending_and_option_is_named() -> None:
    code = "".join(
        path.read_text()
        for path in [
            *ROOT.glob("src/tunewright/data/*.py"),
            *ROOT.glob("src/tunewright/detectors/*.py"),
            ROOT / "src/tunewright/stages/prepare.py",
            ROOT / "src/tunewright/stages/sorting.py",
        ]
    )
    findings = {name for name in re.findall(r'name=f?"([a-z_{}]+)"', code) if "{" not in name}
    missing = [name for name in [*findings, *READERS] if f"`{name}`" not in PAGE]
    missing += [name for name in DataOptions.model_fields if f"`data.{name}`" not in PAGE]
    assert missing == []
