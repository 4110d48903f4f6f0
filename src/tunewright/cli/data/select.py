"""Choose the best rows rather than adding some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    source: Annotated[
        str, typer.Argument(metavar="RUN|RECIPE|FILE", help="A run or recipe (its training rows), or a file of rows.")
    ],
    best: Annotated[str, typer.Option("--best", metavar="N|P%", help="How many rows, or which share of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the chosen rows go, as JSON lines.")],
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="SCORE",
            help="quality, relevance, length, language, density, agreement, grader, perplexity or ifd.",
        ),
    ] = "quality",
    prefer: Annotated[
        str | None, typer.Option("--prefer", metavar="END", help="Which end of the score is good: high, middle or low.")
    ] = None,
    diverse: Annotated[
        float, typer.Option("--diverse", metavar="W", min=0, max=1, help="Weight of being unlike rows chosen before.")
    ] = 0.0,
    balance: Annotated[
        bool, typer.Option("--balance", help="As many rows of each label, as far as there are.")
    ] = False,
    like: Annotated[
        str,
        typer.Option(
            "--like", metavar="SIDE|FILE", help="Whose inputs relevance compares with: validation, test, a file."
        ),
    ] = "validation",
    model: Annotated[
        str | None, typer.Option("--model", metavar="BASE", help="Whose perplexity counts; of a run: its own base.")
    ] = None,
    rest: Annotated[
        Path | None, typer.Option("--rest", metavar="FILE", help="Where the rows that were not chosen go.")
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Write each row's score into its column 'scores'.")] = False,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data select desk --best 500 --by quality --diverse 0.5 --out best.jsonl

    Scores every row, takes the best, and writes them as they were, in their order. --by relevance compares inputs with
    the validation side's inputs, never with labels; --by perplexity and --by ifd ask a model; --by agreement asks
    whether a quick classifier that has not seen the row gives its label. The same as data.select in a recipe.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import selecting

    with carrying.quiet(as_json), Progress() as progress:
        report = selecting.select(
            source,
            selecting.options(best=best, by=by, prefer=prefer, diverse=diverse, balance=balance, like=like),
            out=out,
            rest=rest,
            with_scores=scores,
            model=model,
            runs=runs,
            listeners=[progress],
        )
    carrying.finish(report, as_json=as_json)
