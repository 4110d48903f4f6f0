"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace", metavar="DIR", help="Folder of the workspace, which holds .tunewright/.", show_default=False
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
NewRows = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Where to write the rows: a new .jsonl file.", show_default=False)
]
TestFiles = Annotated[
    list[str] | None,
    typer.Option("--test", metavar="FILE", help="Rows that measure: nothing near to them is kept. Repeatable."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="ROLE=COLUMN", help="Which column is what, as in data.fields. Repeatable."),
]
AliasName = Annotated[str, typer.Argument(metavar="ALIAS", help="An alias of the workspace.")]
Project = Annotated[str, typer.Option(help="Whose aliases.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="A reason, kept in the history.", show_default=False)]

RUNS = Path("runs")
HERE = Path(".")


def listed(text: str, option: str) -> list[Any]:
    """A list from `a,b` or `a,{kind: b, rate: 0.1}`. Raises RecipeError."""
    import yaml

    from tunewright.core.errors import RecipeError

    try:
        found = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        found = None
    if not found or not all(isinstance(one, str | dict) for one in found):
        raise RecipeError(f"{option} takes names with commas between, found '{text}'. For example: a,{{kind: b}}")
    return list(found)


def pairs(given: list[str] | None) -> dict[str, str]:
    """A mapping from `a=b` options. Raises RecipeError."""
    from tunewright.core.errors import RecipeError

    found = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise RecipeError(f"--field needs ROLE=COLUMN, found '{one}'. For example: --field prompt=question")
        found[name.strip()] = value.strip()
    return found
