"""Make rows from training rows: typos, synonyms, paraphrases, swaps, balance."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import asking, carrying, options


def command(
    source: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A prepared run, or a file of training rows.")],
    out: options.NewRows,
    edits: Annotated[
        str, typer.Option(metavar="KINDS", help="With commas: typos,casing or typos,{kind: swap, group: age}.")
    ] = "typos,casing,punctuation",
    per_row: Annotated[int | None, typer.Option(metavar="N", help="Rows made from each row; 1 when left out.")] = None,
    share: Annotated[float | None, typer.Option(help="Make one row from this share of the rows.")] = None,
    balance: Annotated[
        str | None, typer.Option(metavar="largest|N", help="Bring labels up to the largest one, or to N rows.")
    ] = None,
    near: Annotated[float, typer.Option(help="Similarity from which rows count as near.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Another seed makes other rows.")] = 0,
    endpoint: asking.Url = None,
    model: asking.Model = None,
    key: asking.Key = None,
    test: options.TestFiles = None,
    fields: options.Fields = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data augment train.jsonl --out more.jsonl --edits typos,casing --per-row 2

    Writes rows made from the training rows of a prepared run, or from the rows of a file, for `data.more` of a recipe:
    such rows are learned from, and never measured on. Rows near to a row that measures, or to another one that is
    there, are thrown away. The same seed makes the same rows.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import more_rows

    values = {
        "edits": options.listed(edits, "--edits"),
        "per_row": per_row,
        "share": share,
        "balance": int(balance) if balance is not None and balance.isdigit() else balance,
        "near": near,
        "seed": seed,
        **asking.named(endpoint, model, key),
    }
    with carrying.quiet(as_json), Progress() as progress:
        report = more_rows.augment(
            source, out, values, test=test or [], fields=options.pairs(fields), runs=runs, listeners=[progress]
        )
    carrying.finish(report, as_json=as_json)
