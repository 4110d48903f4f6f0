"""Frozen layers that compute each row once: the loop gives the result it gives without, and goes on bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import storage
from tunewright.core.errors import Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages.train import train

Begin = Callable[..., tuple[Recipe, Run]]


@pytest.fixture
def begin(tmp_path: Path, tiny: Callable[[str], Path]) -> Begin:
    """begin(name, **train): a prepared run whose top layer trains."""

    def made(name: str, **options: Any) -> tuple[Recipe, Run]:
        values = {
            "name": name,
            "data": {"sources": ["rows.jsonl"]},
            "model": str(tiny("llama")),
            "method": {"kind": "last_layers", "layers": 1},
            "evaluate": {"max_new_tokens": 16, "graders": ["exact"]},
            "train": {
                "epochs": 3, "batch": 4, "lr": 0.003, "max_tokens": 96, "micro_tokens": 128, "evaluate_every": 3,
                "save_every": 4, "dtype": "float32", "device": "cpu", "patience": 0, **options,
            },
        }  # fmt: skip
        recipe = Recipe.parse(values, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        for split, count in (("train", 10), ("validation", 3), ("test", 3)):
            rows = [
                {
                    "id": f"{split}:{n}",
                    "messages": [
                        {"role": "user", "content": f"{split} {n}, please answer"},
                        {"role": "assistant", "content": "yes" if n % 2 else "no"},
                    ],
                }
                for n in range(count)
            ]
            storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)
        return recipe, run

    return made


def weights_of(run: Run, report: Report) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run.path("checkpoints", report.numbers["checkpoint"], "model", "weights.safetensors"))


def test_the_result_is_the_one_without_and_the_file_is_gone(begin: Begin) -> None:
    found = {}
    for name, option in (("with", True), ("without", False)):
        recipe, run = begin(name, store_frozen=option)
        report = train(recipe, run)
        found[name] = (weights_of(run, report), list(run.events("step")), list(run.events("validation")))
        assert len(list(run.events("stored"))) == option
        assert all(proof.holds for proof in report.proofs)
    kept = begin("with")[1]
    [told] = kept.events("stored")
    assert told["layers"] == 2 and told["bytes"] == told["tokens"] * 32 * 4
    assert not [path for path in kept.path("train").iterdir() if path.suffix != ".json"]
    for one, other in zip(found["with"][1] + found["with"][2], found["without"][1] + found["without"][2], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    for name, tensor in found["with"][0].items():
        assert torch.allclose(tensor, found["without"][0][name], atol=1e-4), name


def test_stopped_and_gone_on_is_bit_for_bit_the_same(begin: Begin) -> None:
    recipe, whole = begin("whole", store_frozen=True)
    truth = train(recipe, whole)
    recipe, run = begin("stopped", store_frozen=True)

    def listen(row: dict[str, Any]) -> None:
        if row["event"] == "step" and row["step"] == 5:
            run.stop.set()

    run.listeners.append(listen)
    with pytest.raises(Stopped):
        train(recipe, run)
    run.stop.clear()
    report = train(recipe, run)
    assert [row["loss"] for row in run.events("step")] == [row["loss"] for row in whole.events("step")]
    for name, tensor in weights_of(whole, truth).items():
        assert torch.equal(tensor, weights_of(run, report)[name]), name
