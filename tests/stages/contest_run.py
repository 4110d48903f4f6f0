"""Runs whose training is done by hand, for what contestants do: a tiny base, labels, and other weights for 'tuned'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run

LABELS = ["fraud", "rates", "delivery"]
SIZES = {"train": 12, "validation": 16, "test": 18}


def row(number: int, label: str, *, name: str = "q") -> dict[str, Any]:
    """A row that asks about its label in one of two ways."""
    words = f"{label} question {number}" if number % 2 else f"about {label}, {number}"
    said = [{"role": "user", "content": words}, {"role": "assistant", "content": label}]
    return {"id": f"{name}:{number}", "messages": said, "label": label}


def make_run(
    folder: Path, base: Path, *, labels: bool = True, method: str = "lora", **evaluate: Any
) -> tuple[Recipe, Run]:
    """The recipe and its run, prepared and trained."""
    import torch

    from tunewright.stages import tuned

    values = {
        "name": "tiny",
        "data": {"sources": [str(folder / "rows.jsonl")]},
        "model": str(base),
        "method": method,
        "train": {"dtype": "float32", "device": "cpu"},
        "evaluate": {"graders": ["exact"], "max_new_tokens": 4, "guards": [], **evaluate},
    }
    recipe = Recipe.parse(values, folder=folder)
    run = Run.begin(recipe, runs=folder / "runs")
    for split, size in SIZES.items():
        rows = [row(number, LABELS[number % 3], name=split) for number in range(size)]
        storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)
    known = {label: {"test": 6} for label in LABELS} if labels else {}
    Report(stage="prepare", run="tiny", numbers={"labels": known}).save(run.path("prepare"))
    model = tuned.open_base(recipe, run)
    torch.manual_seed(1)
    part = recipe.the_method()
    part.attach(model.net)
    for parameter in model.net.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    trained = run.path("checkpoints", "step-000001", "model")
    trained.mkdir(parents=True)
    part.save(model.net, trained)
    Report(stage="train", run="tiny", numbers={"checkpoint": "step-000001"}).save(run.path("train"))
    return recipe, run
