"""Show the data card of a run, a version or a file, and random rows as the model will see them."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|VERSION|FILE]", help="A run, a version's first digits, or a file of rows."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=0, help="How many random rows to show.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other rows.")] = 0,
    side: Annotated[str, typer.Option("--side", help="Whose rows: train, validation or test.")] = "train",
    model: Annotated[
        str | None, typer.Option("--model", metavar="BASE", help="Show rows in this model's chat template.")
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data show tickets --rows 20

    From rows read to rows kept, labels, lengths, findings with examples and remedies, and random rows as the model will
    see them: learned text green and in [[ ]]. Without an argument, the newest version. A file need not be prepared.
    """
    from tunewright.stages import looking

    with carrying.quiet(as_json):
        report = looking.show(source, runs=runs, side=side, num_rows=rows, seed=seed, model=model)
    if as_json:
        print(report.model_dump_json(indent=2))
        return
    from tunewright.cli import data_printing

    data_printing.print_card(report)
