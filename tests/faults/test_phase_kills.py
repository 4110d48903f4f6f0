"""A run with phases that is killed anywhere goes on to the same weights, with every retention at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_job import KILLED, forked, rows, write_rows

import tunewright as tw
from tunewright.core import storage
from tunewright.core.run import Run
from tunewright.stages import phases

RETENTION = [{"kind": "replay", "share": 0.3}, {"kind": "ewc", "rows": 5}, {"kind": "anchor", "rows": 2}, "orthogonal"]


@pytest.fixture(scope="module")
def recipe(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks in sequence; dropout makes each step draw."""
    folder = tmp_path_factory.mktemp("killed")
    for number, name in enumerate(("first", "second")):
        write_rows(folder / f"{name}.jsonl", rows(20, start=100 * number))
    train = {"epochs": 2, "batch": 4, "lr": 0.01, "micro_tokens": 256, "threads": 1, "save_every": 2, "patience": 0}
    values = {
        "name": "job",
        "model": str(tiny("llama")),
        "method": {"kind": "lora", "rank": 4, "dropout": 0.1},
        "train": {**train, "evaluate_every": 4},
        "evaluate": {"graders": ["exact"]},
        "phases": [
            {"name": "first", "data": {"sources": ["first.jsonl"], "format": "labels"}},
            {"name": "second", "data": {"sources": ["second.jsonl"], "format": "labels"}, "retention": RETENTION},
        ],
    }
    storage.write_json(folder / "recipe.json", values)
    return folder / "recipe.json"


def outcome(runs: Path) -> list[Any]:
    """What must not depend on how often a run was interrupted."""
    found = []
    for child in phases.children_of(Run(runs / "job")):
        report = child.report("train")
        assert report is not None
        model = child.path("checkpoints", report.numbers["checkpoint"], "model", "adapter_model.safetensors")
        steps = [[event["loss"], event["grad_norm"]] for event in child.events("step")]
        ledger = list(storage.read_jsonl(child.path("ledger.jsonl")))
        found.append([storage.sha256(model), steps, ledger])
    return found


@pytest.fixture(scope="module")
def truth(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The outcome without interruptions."""
    runs = tmp_path_factory.mktemp("truth")
    assert forked(lambda: tw.train(recipe, runs=runs)) == 0
    assert len(outcome(runs)) == 2
    return outcome(runs)


def test_killed_at_each_kind_of_write(recipe: Path, truth: list[Any], tmp_path: Path) -> None:
    kills = [
        "save.manifest:2:kill",  # inside the first phase
        "base.begin:1:kill",  # before its result is merged for the second
        "base.manifest:1:kill",
        "retention.manifest:1:kill",  # while what mattered for it is measured
        "ledger:5:kill",  # between a step of the second phase and its checkpoint
    ]
    for fail in kills:
        assert forked(lambda: tw.train(recipe, runs=tmp_path), fail=fail) == KILLED, fail
    assert forked(lambda: tw.train(recipe, runs=tmp_path)) == 0
    assert outcome(tmp_path) == truth
    left = [path for path in (tmp_path / "job").rglob("*") if path.suffix in (".tmp", ".old")]
    assert left == []
