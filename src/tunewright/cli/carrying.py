"""What the stage commands share: run a stage with progress on standard error, then print its report."""

from __future__ import annotations

import contextlib
import json
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


def carry_many(recipes: list[Path], *, runs: Path, as_json: bool, **options: Any) -> None:
    """Train several recipes and print what came of each. Ends with the first exit code that is not 0."""
    from tunewright.cli import printing, tell
    from tunewright.cli.progress import Progress
    from tunewright.stages import flow

    with quiet(as_json), Progress() as progress:
        outcomes = flow.train_many(recipes, runs=runs, listeners=[progress], **options)
    if as_json:
        rows = [o.report.model_dump() if o.report else {"run": o.run, "error": str(o.error)} for o in outcomes]
        print(json.dumps(rows, indent=2, default=str))
    codes = []
    for recipe, outcome in zip(recipes, outcomes, strict=True):
        if not as_json:
            print(f"\n{outcome.run}")
        if outcome.report is not None and not as_json:
            printing.print_report(outcome.report, folder=run_folder(recipe, runs, outcome.run))
        if outcome.error is not None:
            print(f"{outcome.run}: ", end="", file=sys.stderr, flush=True)
        codes.append(tell(outcome.error) if outcome.error else outcome.report.exit_code if outcome.report else 0)
    raise typer.Exit(next((code for code in codes if code), 0))


@contextlib.contextmanager
def quiet(as_json: bool) -> Iterator[None]:
    """Keep libraries from chatting; with --json whatever they print goes to standard error."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
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
