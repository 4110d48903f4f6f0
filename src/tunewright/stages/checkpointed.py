"""Checkpoints that can be asked like releases: their adapters, with the manifest that serving needs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tunewright.core import catalog, storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages import deploy, tuned

FOLDER = "checkpoint_releases"


def ends_of_epochs(run: Run) -> list[int]:
    """The steps of whole checkpoints with which an epoch ended, ascending."""
    found = []
    for folder in run.path("checkpoints").glob("step-*"):
        if re.fullmatch(r"step-\d+", folder.name) and storage.damage(folder) is None:
            state = storage.read_json(folder / "state.json")
            found += [int(state["step"])] * (state["step"] % state["per_epoch"] == 0)
    return sorted(found)


def folder_of(run: Run, step: int) -> Path:
    """Where the checkpoint of a step is, once it was released."""
    return run.path(FOLDER, f"step-{step:06d}")


def release(recipe: Recipe, run: Run, step: int) -> Path:
    """Write what serving needs of a checkpoint of a method with an adapter, unless it is there and whole."""
    target = folder_of(run, step)
    if target.exists() and storage.damage(target) is None:
        return target
    model = tuned.open_trained(recipe, run, run.path("checkpoints", f"step-{step:06d}", "model"))
    judged = Report(stage="train", run=run.name, reason="A checkpoint on the way: nothing was graded.")
    about = deploy.origin(recipe, run, judged, model) | {"step": step, "formats": ["adapter"]}
    exporter = catalog.build("exporters", "adapter")
    with storage.new_folder(target, point="checkpoint_release", about=about) as folder:
        exporter.export(recipe.the_method(), model, folder / "adapter")
    return target


def forget(run: Run, *, keep: set[int]) -> None:
    """Remove all but those of some steps."""
    kept = {folder_of(run, step).name for step in keep}
    for folder in run.path(FOLDER).glob("step-*"):
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
