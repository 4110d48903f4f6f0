"""Weights & Biases for jobs that ask for it: each step's metrics go there, where the package is installed."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.server.telling import Track

log = logging.getLogger("tunewright.server")


@contextmanager
def opened(
    integrations: Sequence[dict[str, Any]], job_id: str, folder: Path
) -> Iterator[tuple[Track | None, list[dict[str, Any]]]]:
    """What takes a step's metrics, None where nothing is asked for or it cannot be had; and warnings for the job's
    history, as events of a run. A resumed job goes on in the same run there.
    """
    wanted = [one["wandb"] for one in integrations if one.get("type") == "wandb"]
    runs: list[Any] = []
    warnings: list[dict[str, Any]] = []
    for about in wanted:
        try:
            wandb = importlib.import_module("wandb")
            named = {key: about[key] for key in ("project", "name", "entity", "tags") if about.get(key)}
            runs.append(wandb.init(**{"name": job_id, **named}, id=job_id, resume="allow", dir=str(folder)))
        except Exception as error:  # of whatever kind: the job does not hang on it
            message = f"Nothing is sent to Weights & Biases: {type(error).__name__}: {error}"
            log.warning("%s", message)
            warnings.append({"event": "warning", "time": time.time(), "message": message[:500]})

    def track(step: int, figures: dict[str, Any]) -> None:
        for run in runs:
            try:
                run.log({key: value for key, value in figures.items() if key != "step"}, step=step)
            except Exception:
                log.exception("a step could not be sent to Weights & Biases")

    try:
        yield (track if runs else None), warnings
    finally:
        for run in runs:
            run.finish()
