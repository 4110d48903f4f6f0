"""The mark on a run whose weights learned from rows that have been deleted since, and the findings that tell of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.report import Finding
from tunewright.core.run import Run

FILE = "quarantined.json"  # in the run's folder
REASON = "trained on deleted rows"


def mark(run: Run, *, subject: str, rows: int, because: str) -> None:
    """Mark a run and all its releases. The same request marks once."""
    known = requests(run)
    if any(one["subject"] == subject and one["because"] == because for one in known):
        return
    request = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "subject": subject,
        "rows": rows,
        "because": because,
    }
    values = {"quarantined": REASON, "requests": [*known, request]}
    storage.write_json(run.path(FILE), values, point="quarantined")


def requests(run: Run) -> list[dict[str, Any]]:
    """The deletions that concern the weights of a run."""
    path = run.path(FILE)
    return list(storage.read_json(path)["requests"]) if path.exists() else []


def findings(run: Run) -> list[Finding]:
    """What every command that hands the run's model on has to say."""
    known = requests(run)
    if not known:
        return []
    return [
        Finding(
            name="quarantined_model",
            severity="problem",
            message=(
                f"Run '{run.name}' is quarantined: {REASON} ({known[-1]['because']}, {known[-1]['when'][:10]}). "
                "Its weights, and every release made of them, may still hold what those rows said."
            ),
            count=sum(one["rows"] for one in known) or None,
            remedy=f"Tune again without the rows: tunewright run {run.facts().get('recipe', run.folder)} --fresh",
        )
    ]


def of_release(folder: Path) -> list[Finding]:
    """The findings of the run that a release's folder stands in."""
    return findings(Run(folder.parent.parent))
