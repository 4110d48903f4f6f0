"""docs/data-versions.md names commands, formats and files that exist."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

from tunewright.cli import data
from tunewright.data.export_shapes import FORMATS
from tunewright.stages import tracing

PAGE = (Path(__file__).parents[2] / "docs" / "data-versions.md").read_text(encoding="utf-8")


def test_every_command_and_format_of_the_page_exists() -> None:
    commands = {module.name for module in pkgutil.iter_modules(data.__path__)}
    shown = set(re.findall(r"^tunewright data (\w+)", PAGE, re.MULTILINE))
    assert shown == {"list", "show", "diff", "export", "forget", "audit"} <= commands
    table = PAGE.split("## Exporting")[1].split("## Deleting")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(FORMATS)


def test_every_cache_that_goes_is_named() -> None:
    assert all(f"`{name}/`" in PAGE for name in tracing.CACHES)
