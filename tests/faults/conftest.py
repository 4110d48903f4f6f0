"""Jobs made once: a frozen one, and the outcome of its training when nothing goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_job import Job, forked, write_job


@pytest.fixture(scope="session")
def frozen(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job whose data is prepared and whose recipe is frozen; nothing is trained. Copy it, do not train it."""
    import tunewright as tw

    folder = tmp_path_factory.mktemp("frozen")
    job = Job(write_job(folder, tiny("llama")), folder / "runs")
    tw.choose(job.recipe, runs=job.runs)
    return job


@pytest.fixture(scope="session")
def uninterrupted(frozen: Job, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The job trained to its end by one process. Copy it, do not train it."""
    job = frozen.copied(tmp_path_factory.mktemp("uninterrupted"))
    assert forked(job.go_on) == 0
    return job


@pytest.fixture(scope="session")
def truth(uninterrupted: Job) -> dict[str, Any]:
    """Its outcome."""
    return uninterrupted.outcome()


@pytest.fixture
def job(frozen: Job, tmp_path: Path) -> Job:
    """A copy of the frozen job to train and to hurt."""
    return frozen.copied(tmp_path / "runs")
