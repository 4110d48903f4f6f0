"""Look at the traffic of a served release: has anything changed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def monitor(
    release: options.ReleaseName,
    traffic: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Logged requests and responses as JSON lines; else what the server logged."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Where the window begins: 24h, 7d (ago), or a date (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Where it ends; now when left out.")] = None,
    workspace: options.Workspace = options.HERE,
    changes: options.Changes = None,
    as_json: options.AsJson = False,
) -> None:
    """tunewright monitor desk --since 7d

    Compares the traffic with what the release was measured on: drift of questions and answers, accuracy as confidences
    tell it, feedback, refusals, form, latency, cost, fairness. Exit code 0: nothing stands out; 3: an alarm; 4: too
    little traffic for any test. The recipe's `monitor` says what is watched; --set changes its keys for this look.
    """
    from tunewright.core.releases import find_release
    from tunewright.stages.monitor import monitor as looked

    with carrying.quiet(as_json):
        report = looked(release, traffic=traffic, since=since, until=until, workspace=workspace, changes=changes)
    found = workspace / "runs" / report.run
    folder = found if found.exists() else find_release(release, runs=workspace / "runs").parent.parent
    carrying.finish(report, as_json=as_json, folder=folder)
