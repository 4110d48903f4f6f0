"""Say whether to tune at all: prompting, retrieval or tuning."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def advise(
    recipe: options.RecipePath,
    changes: options.Changes = None,
    runs: options.Runs = options.RUNS,
    fresh: options.Fresh = False,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Validation rows that are asked at most.")] = 200,
    as_json: options.AsJson = False,
) -> None:
    """tunewright advise recipe.yaml

    Asks the untuned model plainly, with the best prompt that a search finds, with examples and with passages, all on
    validation rows, and says what the task needs: a prompt, retrieval or tuning, with the evidence, the time and the
    cost. Nothing is trained, and no test row is opened.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import advising

    with carrying.quiet(as_json), Progress() as progress:
        report = advising.advise(recipe, changes=changes, runs=runs, fresh=fresh, rows=rows, listeners=[progress])
    carrying.finish(report, as_json=as_json, folder=carrying.run_folder(recipe, runs, report.run))
