"""List every version of prepared data under the runs."""

from __future__ import annotations

from tunewright.cli import options


def command(runs: options.Runs = options.RUNS, as_json: options.AsJson = False) -> None:
    """tunewright data list

    Each version with its run, when it was made, its rows by side, what it was made from and what was done.
    """
    from tunewright.cli import data_printing
    from tunewright.stages import versions

    report = versions.listing(runs)
    if as_json:
        print(report.model_dump_json(indent=2))
        return
    data_printing.print_versions(report)
