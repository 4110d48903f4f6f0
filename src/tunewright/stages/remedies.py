"""The command that applies what a finding offers. Reads a run's facts and the recipe it was given."""

from __future__ import annotations

import shlex
from pathlib import Path

from tunewright.core.errors import TunewrightError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.core.run import Run


def fix_command(run: Run, finding: Finding) -> str | None:
    """`tunewright prepare RECIPE --fix NAME`, with the fixes that the run has already; None where nothing is
    offered, or it was applied.

    RECIPE is the file that the run was begun with, as it was named then; else the run's folder, which stands for it.
    """
    applied = _fixes(run)
    if finding.fix is None or finding.name in applied:
        return None
    words = ["tunewright", "prepare", str(run.facts().get("recipe") or run.folder)]
    for name in dict.fromkeys([*applied, finding.name]):
        words += ["--fix", name]
    if run.folder.parent != Path("runs"):
        words += ["--runs", str(run.folder.parent)]
    return shlex.join(words)


def _fixes(run: Run) -> list[str]:
    """What the recipe had mended already: --fix says all of it, not what is added."""
    given = run.path("recipe.given.yaml")
    try:
        return list(Recipe.load(given).data.fix) if given.exists() else []
    except TunewrightError:
        return []
