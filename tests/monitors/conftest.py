"""A run by hand whose release is watched, and a workspace that has logged its traffic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_traffic import LABELS, turn

from tunewright.core import storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.privacy import vault
from tunewright.privacy.vault import Key
from tunewright.workspace import traffic as logged
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Model

CHEAP = [{"kind": "drift", "rows": 60}, "quality", "latency"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run by hand with 300 evaluated test rows and a release."""
    values = {"name": "shop", "data": {"sources": ["rows.jsonl"]}, "model": "nano", "method": "lora"}
    recipe = Recipe.parse({**values, "monitor": {"monitors": CHEAP, "window": "1h"}}, folder=tmp_path)
    run = Run.begin(recipe, runs=tmp_path / "runs")
    storage.write_text(run.path("recipe.yaml"), recipe.to_yaml({}))
    draw = np.random.default_rng(0)
    tested = [turn(draw, number) for number in range(300)]
    rows = [
        {"id": one.id, "label": one.answer, "messages": [
            {"role": "user", "content": one.question}, {"role": "assistant", "content": one.answer}
        ]} for one in tested
    ]  # fmt: skip
    storage.write_jsonl(run.path("data", "test.jsonl"), rows)
    learned = [turn(draw, number) for number in range(200)]
    storage.write_jsonl(
        run.path("data", "train.jsonl"),
        [{**row, "id": f"l{n}", "messages": [{"role": "user", "content": one.question}, row["messages"][1]]}
         for n, (row, one) in enumerate(zip(rows, learned, strict=False))],
    )  # fmt: skip
    storage.write_jsonl(
        run.path("evaluate", "answers.jsonl"),
        [{"id": one.id, "answers": {"tuned": one.answer}, "confidences": {"tuned": one.confidence},
          "grades": {"tuned": {"exact": one.right}}} for one in tested],
    )  # fmt: skip
    kept = [{"id": one.id, "completion_tokens": one.completion_tokens, "finish": "stop"} for one in tested]
    storage.write_jsonl(run.path("evaluate", "answers.tuned.jsonl"), kept)
    judged = Report(stage="evaluate", run="shop", numbers={"grader": "exact"})
    judged.model_copy(update={"contestants": {"tuned": {"latency_p95": 0.25}}}).save(run.path("evaluate"))
    storage.write_json(run.path("releases", "001", "manifest.json"), {"decode": {"labels": list(LABELS)}})
    return run


@pytest.fixture
def place(run: Run) -> Iterator[Workspace]:
    place = Workspace.open(run.folder.parents[1])
    vault.new_key(place.state / "traffic.key")
    logged.folder(place).mkdir()
    vault.begin(logged.folder(place), Key(str(place.state / "traffic.key")), complete=True)
    with place.database.writing() as session:
        session.add(Model(name="ft:nano:local:shop:1", folder="shop/releases/001", base="nano"))
    yield place
    place.database.close()
