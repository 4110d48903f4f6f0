"""Which weights learned from rows: by a run's own ledger, and by what a run goes on from."""

from __future__ import annotations

from pathlib import Path

import yaml

from tunewright.core import storage
from tunewright.core.run import Run
from tunewright.privacy.deletion import leaves
from tunewright.stages.deletion_plan import InRun

LEDGER = "ledger.jsonl"


def find_earlier(every: list[InRun]) -> None:
    """Rows of other runs that a run may have read again."""
    by_folder = {one.run.folder.resolve(): one for one in every}
    for one in every:
        for folder in _paths(one.run, by_folder):
            one.earlier |= by_folder[folder].ids


def find_trained(every: list[InRun]) -> None:
    """Which runs' weights learned from the rows: by their own ledger, or by what they go on from."""
    for one in every:
        learned: set[str] = set()
        for row in storage.read_jsonl(one.run.path(LEDGER)):
            seen = {whole for id in row.get("ids", []) if (whole := whole_id(id)) in one.ids}
            seen |= {whole for id in row.get("earlier", []) if (whole := whole_id(id)) in one.earlier}
            learned |= seen
            one.num_steps += bool(seen)
        one.num_trained = len(learned)
        if learned:
            one.because = f"it learned from them in {one.num_steps:,} steps"
    by_folder = {one.run.folder.resolve(): one for one in every}
    while _spread(every, by_folder):
        pass


def whole_id(id: str) -> str:
    """The id of the row that a piece `id#k` of a document is of."""
    whole, mark, number = id.rpartition("#")
    return whole if mark and number.isdigit() else id


def _spread(every: list[InRun], by_folder: dict[Path, InRun]) -> bool:
    """Mark runs that go on from marked ones; whether any was found."""
    spread = False
    for one in every:
        if one.because is not None or not _has_weights(one.run):
            continue
        before = [by_folder[folder] for folder in _paths(one.run, by_folder)]
        marked = next((other for other in before if other.because is not None), None)
        phase = next((o for o in every if o.because and o.run.folder.parent == one.run.path("children")), None)
        if marked is not None:
            one.because = f"it goes on from {marked.name}"
        elif phase is not None:
            one.because = f"its phase {phase.run.name} learned from them"
        spread |= one.because is not None
    return spread


def _has_weights(run: Run) -> bool:
    folders = [run.path(name) for name in ("checkpoints", "base", "children")]
    return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)


def _paths(run: Run, by_folder: dict[Path, InRun]) -> set[Path]:
    """The runs that a recipe names outside its data: what it starts from, replays, is rewarded by or taught by."""
    path = run.path("recipe.yaml")
    if not path.exists():
        return set()
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    texts = {text for key, value in values.items() if key != "data" for text in leaves(value) if "/" in text}
    resolved = [Path(text.partition(":")[0]).resolve() for text in texts]
    return {
        folder
        for folder in by_folder
        if folder != run.folder.resolve() and any(one == folder or folder in one.parents for one in resolved)
    }
