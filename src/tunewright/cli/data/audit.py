"""Check the audit log of deletions: an edited, deleted, moved or cut record is named."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import options


def command(
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HASH", help="A head printed earlier: shows whether the log was cut."),
    ] = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data audit --head 5f0c2a9be1d4

    Follows the chain of hashes in runs/audit.jsonl and names the first record that does not fit. A log that was cut at
    its end is only found by a head that was kept elsewhere. Ends with 3 where the log is broken.
    """
    from tunewright.stages import forgetting

    report = forgetting.audit(runs=runs, head=head)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        from tunewright.cli import data_printing

        data_printing.print_audit(report)
    raise typer.Exit(report.exit_code)
