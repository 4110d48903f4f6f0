"""What the stage commands share: run a stage with progress on standard error, then print its report."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tunewright.core.report import Report


def carry(stage: str, recipe: Path, *, runs: Path, as_json: bool, **options: Any) -> None:
    """Call the flow's function of this name and print its report. Ends with the report's exit code."""
    from tunewright.cli.progress import Progress
    from tunewright.stages import flow

    with quiet(as_json), Progress() as progress:
        report = getattr(flow, stage)(recipe, runs=runs, listeners=[progress], **options)
    finish(report, as_json=as_json, folder=run_folder(recipe, runs, report.run))


@contextlib.contextmanager
def quiet(as_json: bool) -> Iterator[None]:
    """Keep libraries from chatting; with --json whatever they print goes to standard error."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def run_folder(recipe: Path, runs: Path, name: str) -> Path:
    """Where the run lies: a recipe may be named by its run's folder, which need not be under --runs."""
    return recipe if (recipe / "run.json").exists() else runs / name


def finish(report: Report, *, as_json: bool, folder: Path | None = None) -> None:
    """Print a report for a program or for a person, and end with its exit code."""
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        from tunewright.cli import printing

        printing.print_report(report, folder=folder)
    raise typer.Exit(report.exit_code)
