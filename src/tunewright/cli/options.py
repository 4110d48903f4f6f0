"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe (YAML or JSON), or the folder or name of a run.")
]
RecipePaths = Annotated[
    list[Path],
    typer.Argument(metavar="RECIPE...", help="Recipes (YAML or JSON), or the folders or names of runs."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its name under --runs, or its folder.")]
ReleaseName = Annotated[
    str,
    typer.Argument(
        metavar="RUN[:RELEASE]", help="A run (its newest release is taken), a release such as desk:001, or its folder."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe key, e.g. train.lr=0.001. Repeatable."),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder that holds the runs.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over; the old run is kept under another name.")]
Override = Annotated[
    str | None,
    typer.Option("--override", metavar="REASON", help="Release although the verdict is no GO; the reason is recorded."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only the report, as JSON, on standard output.")]

RUNS = Path("runs")
