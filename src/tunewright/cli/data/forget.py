"""Delete a person's rows from every version, cache, ledger, answer and report under the runs."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import options


def command(
    where: Annotated[
        str | None, typer.Option("--where", metavar="COLUMN=VALUE", help="Rows with this value in this column.")
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="A row's id, or RUN/ID. Repeatable.")
    ] = None,
    contains: Annotated[
        str | None, typer.Option("--contains", metavar="TEXT", help="Rows that hold this text anywhere, in any case.")
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Empty the lines of the source files too; there is no way back.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it only what would go is told.")] = False,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data forget --where customer=c-1017 --yes

    Tells what would go, names the runs and releases that learned from the rows, and with --yes deletes: rows, caches,
    answers and quotations go, ledgers keep tombstones, the weights are marked. Each deletion is written to the audit
    log under the runs, whose head is printed: keep it elsewhere. The same command again completes what was interrupted.
    """
    from tunewright.stages import forgetting

    report = forgetting.forget(where=where, ids=ids, contains=contains, runs=runs, also_sources=sources, yes=yes)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        from tunewright.cli import data_printing

        data_printing.print_forgotten(report)
    raise typer.Exit(report.exit_code)
