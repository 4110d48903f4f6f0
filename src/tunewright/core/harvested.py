"""Rows harvested from a release's traffic: where they lie in its run, and `traffic:RUN[:RELEASE]` as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunewright.core.errors import NotThere

TRAFFIC = "traffic:"
FOLDER = "feedback"  # in a run
ORIGIN = "traffic"  # in a row's meta: the id of the answer it came from
_QUEUE = ".queue.jsonl"


def rows_file(run: Path, release: str) -> Path:
    """Rows that may be learned from, as examples."""
    return run / FOLDER / f"{run.name}-{release}.jsonl"


def queue_file(run: Path, release: str) -> Path:
    """All that was harvested, with why, and what a reviewer said of it."""
    return run / FOLDER / f"{run.name}-{release}{_QUEUE}"


def is_queue(path: Path) -> bool:
    """Whether a file of the folder is a queue rather than rows."""
    return path.name.endswith(_QUEUE)


def is_row(values: dict[str, Any]) -> bool:
    """Whether a row of a file is one that was harvested."""
    meta = values.get("meta")
    return isinstance(meta, dict) and isinstance(meta.get(ORIGIN), str) and isinstance(values.get("messages"), list)


def located(source: str, folder: Path) -> str:
    """The source with the run's absolute folder: a folder, or a name under `runs`, beside the recipe or here."""
    name, release = _parted(source)
    for home in (folder, folder / "runs", Path("runs")):
        if (home / Path(name).expanduser() / "run.json").exists():
            found = f"{TRAFFIC}{(home / Path(name).expanduser()).resolve()}"
            return f"{found}:{release}" if release else found
    return source


def files(source: str) -> list[str]:
    """The files behind such a source. Raises NotThere where nothing was harvested yet."""
    name, release = _parted(located(source, Path()))
    run = Path(name)
    found = [rows_file(run, release)] if release else sorted((run / FOLDER).glob("*.jsonl"))
    there = [str(path) for path in found if path.is_file() and not is_queue(path)]
    if not there:
        of = f"{run.name}:{release}" if release else run.name
        raise NotThere(f"{source}: no rows were harvested from traffic of it yet. Run: tunewright harvest {of}")
    return there


def problems(source: str) -> list[str]:
    """What is wrong with such a source."""
    try:
        files(source)
    except NotThere as error:
        return [str(error)]
    return []


def _parted(source: str) -> tuple[str, str]:
    """The run's name or folder, and the release's number as its folder is called ("" for all)."""
    name = source.removeprefix(TRAFFIC)
    run, colon, number = name.rpartition(":")
    return (run, f"{int(number):03d}") if colon and number.isdigit() else (name, "")
