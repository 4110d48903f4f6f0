"""Preference objectives through the whole loop: the reference is asked once, and stays what it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.models.reference import Reference
from tunewright.stages.train import train

Begin = Callable[..., tuple[Recipe, Run]]


@pytest.fixture
def begin(tmp_path: Path, tiny: Callable[[str], Path]) -> Begin:
    """begin(name, objective, method): a run with pairs, ready to train."""

    def made(name: str, objective: Any = "dpo", method: Any = "lora", **train: Any) -> tuple[Recipe, Run]:
        values = {
            "name": name,
            "data": {"sources": ["rows.jsonl"]},
            "model": str(tiny("llama")),
            "method": method,
            "objective": objective,
            "evaluate": {"max_new_tokens": 16, "graders": ["exact"]},
            "train": {
                "steps": 6, "batch": 4, "lr": 0.003, "max_tokens": 96, "micro_tokens": 128, "evaluate_every": 3,
                "save_every": 3, "dtype": "float32", "device": "cpu", "patience": 0, **train,
            },
        }  # fmt: skip
        recipe = Recipe.parse(values, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        for split, count in (("train", 10), ("validation", 4), ("test", 4)):
            rows = [
                {
                    "id": f"{split}:{n}",
                    "messages": [
                        {"role": "user", "content": f"{split} {n}, please"},
                        {"role": "assistant", "content": f"yes, {n}"},
                    ],
                    "rejected": [{"role": "assistant", "content": "no"}],
                }
                for n in range(count)
            ]
            storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)
        return recipe, run

    return made


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each pass over the data that asks the reference, whether the model was untouched."""
    seen: list[bool] = []
    plain = Reference.compute

    def counted(self: Reference, *given: Any, **options: Any) -> None:
        seen.append(options["untouched"])
        plain(self, *given, **options)

    monkeypatch.setattr(Reference, "compute", counted)
    return seen


@pytest.mark.parametrize(
    ("method", "options"), [("lora", {}), ("full", {}), ({"kind": "lora", "layers": 1}, {"store_frozen": True})]
)
def test_dpo_begins_at_ln_2_and_learns_to_prefer(
    method: Any, options: dict[str, Any], begin: Begin, passes: list[bool]
) -> None:
    recipe, run = begin("job", "dpo", method, **options)
    report = train(recipe, run)
    assert [proof.name for proof in report.proofs if not proof.holds] == []
    steps = list(run.events("step"))
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert steps[0]["margin"] == pytest.approx(0.0, abs=1e-4)
    assert steps[-1]["margin"] == pytest.approx(steps[-1]["rewards/chosen"] - steps[-1]["rewards/rejected"])
    assert steps[-1]["loss"] < 0.67
    looks = list(run.events("validation"))
    assert looks[-1]["accuracy"] == 1.0 and looks[-1]["margin"] > 0
    best = next(row for row in looks if row["step"] == report.numbers["best_step"])
    assert report.numbers["metrics"]["validation"]["margin"] == best["margin"]
    assert report.numbers["metrics"]["test"]["accuracy"] == 1.0 and report.numbers["test_examples"] == 4
    [proof] = [proof for proof in report.proofs if proof.name == "reference"]
    assert "stored values" in proof.measured
    assert passes == [True]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_going_on_finds_the_same_reference(method: str, begin: Begin, passes: list[bool]) -> None:
    _, whole = begin("whole", "dpo", method)
    train(*begin("whole", "dpo", method))
    recipe, run = begin("stopped", "dpo", method)

    def listen(row: dict[str, Any]) -> None:
        if row["event"] == "step" and row["step"] == 4:
            run.stop.set()

    run.listeners.append(listen)
    with pytest.raises(Stopped):
        train(recipe, run)
    run.stop.clear()
    values = (run.path("train", "reference") / "logprobs.bin").read_bytes()
    train(recipe, run)
    assert passes == [True, True]  # one pass for each run, none on going on
    assert (run.path("train", "reference") / "logprobs.bin").read_bytes() == values
    assert [row["loss"] for row in run.events("step")] == [row["loss"] for row in whole.events("step")]


def test_values_of_other_rows_are_computed_again(begin: Begin, passes: list[bool]) -> None:
    recipe, run = begin("job")
    with pytest.raises(Stopped):
        _stopped_at_step(run, 1, recipe)
    (run.path("train", "reference") / "keys.bin").write_bytes(b"torn")
    train(recipe, run)
    assert passes == [True, False]
    [proof] = [proof for proof in (run.events("proof")) if proof["name"] == "reference"]
    assert proof["holds"]


def test_a_stop_while_the_reference_is_asked(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunewright.core.run.PROGRESS_SECONDS", 0.0)
    recipe, run = begin("job")

    def listen(row: dict[str, Any]) -> None:
        if row["event"] == "progress" and row["what"] == "asking the reference":
            run.stop.set()

    run.listeners.append(listen)
    with pytest.raises(Stopped):
        train(recipe, run)
    assert not run.path("train", "reference").exists()
    run.listeners.clear()
    run.stop.clear()
    assert train(recipe, run).numbers["steps"] == 6


@pytest.mark.parametrize("objective", ["kto", "orpo", "simpo", {"kind": "dpo", "loss_type": "ipo"}])
def test_the_others_learn_to_prefer(objective: Any, begin: Begin, passes: list[bool]) -> None:
    recipe, run = begin("job", objective)
    report = train(recipe, run)
    assert [proof.name for proof in report.proofs if not proof.holds] == []
    looks = list(run.events("validation"))
    assert looks[-1]["rewards/chosen"] - looks[-1]["rewards/rejected"] > 0
    assert looks[-1]["loss"] < looks[0]["loss"]
    assert run.path("train", "reference").exists() == recipe.the_objective().uses_reference


def _stopped_at_step(run: Run, step: int, recipe: Recipe) -> None:
    def listen(row: dict[str, Any]) -> None:
        if row["event"] == "step" and row["step"] == step:
            run.stop.set()

    run.listeners.append(listen)
    try:
        train(recipe, run)
    finally:
        run.listeners.clear()
        run.stop.clear()
