"""The one loop on a tiny model: rates, ledger, going on after a stop, early stopping and the best checkpoint."""

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
from tunewright.training import step as step_module
from tunewright.training.schedules import factor
from tunewright.training.step import Look, Means

LABELS = ("fraud", "rates", "delivery")
Begin = Callable[..., tuple[Recipe, Run]]


@pytest.fixture
def begin(tmp_path: Path, tiny: Callable[[str], Path]) -> Begin:
    """begin(name, **train): a run whose data is prepared and whose recipe is complete."""

    def made(name: str = "job", method: Any = "lora", **train: Any) -> tuple[Recipe, Run]:
        values = {
            "name": name,
            "data": {"sources": ["rows.jsonl"]},
            "model": str(tiny("llama")),
            "method": method,
            "evaluate": {"max_new_tokens": 16, "graders": ["exact"]},
            "train": {
                "epochs": 2, "batch": 4, "lr": 0.003, "max_tokens": 96, "micro_tokens": 128, "evaluate_every": 3,
                "save_every": 4, "dtype": "float32", "device": "cpu", "patience": 0, **train,
            },
        }  # fmt: skip
        recipe = Recipe.parse(values, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        for split, count in (("train", 18), ("validation", 5), ("test", 4)):
            rows = [
                {
                    "id": f"{split}:{n}",
                    "messages": [
                        {"role": "user", "content": f"{split} {n} about {LABELS[n % 3]}"},
                        {"role": "assistant", "content": LABELS[n % 3]},
                    ],
                }
                for n in range(count)
            ]
            storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)
        return recipe, run

    return made


def weights_of(run: Run, report: Report) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    [file] = run.path("checkpoints", report.numbers["checkpoint"], "model").glob("*.safetensors")
    return load_file(file)


def test_rates_ledger_and_proofs_of_a_whole_training(begin: Begin) -> None:
    recipe, run = begin(schedule="cosine", warmup=0.2)
    report = train(recipe, run)
    assert report.exit_code == 0 and len(report.proofs) >= 8
    steps = list(run.events("step"))
    assert [row["step"] for row in steps] == list(range(1, 11))
    for row in steps:
        assert abs(row["lr"] - 0.003 * factor("cosine", row["step"], total=10, warmup=0.2)) < 1e-12
        assert row["forest_tokens"] <= row["tokens"] and row["seconds"] >= 0
    ledger = list(storage.read_jsonl(run.path("ledger.jsonl")))
    for epoch in range(2):
        ids = [name for row in ledger if row["epoch"] == epoch for name in row["ids"]]
        assert sorted(ids) == sorted(f"train:{n}" for n in range(18))
    assert steps[-1]["loss"] < steps[0]["loss"]
    looks = list(run.events("validation"))
    assert [row["step"] for row in looks] == [0, 3, 6, 9, 10]
    assert report.numbers["best_step"] == min(looks, key=lambda row: row["loss"])["step"]


@pytest.mark.parametrize(
    "method",
    [
        "full",
        {"kind": "gradual", "every": 0.4},  # between the stops one more layer begins to train
        {"kind": "lora", "rank": 4, "dora": True, "start": "pissa", "plus": 4.0},
        {"kind": "bottleneck", "size": 4},
        {"kind": "peft", "tuner": "LOHA", "options": {"r": 2, "target_modules": ["q_proj"], "rank_dropout": 0.2}},
    ],
    ids=lambda method: method if isinstance(method, str) else method["kind"],
)
def test_stopped_twice_and_gone_on_is_bit_for_bit_the_same(begin: Begin, method: Any) -> None:
    recipe, whole = begin("whole", method)
    truth = train(recipe, whole)
    recipe, run = begin("stopped", method)

    def listen(row: dict[str, Any]) -> None:
        if row["event"] == "step" and row["step"] in (3, 7):
            run.stop.set()

    run.listeners.append(listen)
    for _ in range(2):
        with pytest.raises(Stopped):
            train(recipe, run)
        run.stop.clear()
    report = train(recipe, run)
    assert report.numbers["steps"] == truth.numbers["steps"] == 10
    for name, tensor in weights_of(whole, truth).items():
        assert torch.equal(tensor, weights_of(run, report)[name]), name
    keys = ("step", "loss", "lr", "grad_norm", "tokens")
    assert [[row[k] for k in keys] for row in run.events("step")] == [
        [row[k] for k in keys] for row in whole.events("step")
    ]
    assert list(storage.read_jsonl(run.path("ledger.jsonl"))) == list(storage.read_jsonl(whole.path("ledger.jsonl")))


def test_layers_computed_again_train_the_same_weights(begin: Begin) -> None:
    trained = {}
    for layers in (0, 2):
        recipe, run = begin(f"again-{layers}", {"kind": "lora", "dropout": 0.1}, steps=4, epochs=None,
                            checkpoint_layers=layers)  # fmt: skip
        trained[layers] = weights_of(run, train(recipe, run))
    assert all(torch.equal(trained[0][name], trained[2][name]) for name in trained[0])


def test_moments_of_one_byte_are_written_as_bytes_and_all_proofs_hold(begin: Begin) -> None:
    from safetensors.torch import load_file

    recipe, run = begin("bytes", "full", steps=4, epochs=None, optimizer="adamw_8bit")
    report = train(recipe, run)
    assert report.exit_code == 0 and all(proof.holds for proof in report.proofs)
    held = load_file(run.path("checkpoints", report.numbers["checkpoint"], "optimizer.safetensors"))
    assert {tensor.dtype for name, tensor in held.items() if name.endswith(".mean")} == {torch.uint8, torch.float32}
    steps = list(run.events("step"))
    assert steps[-1]["loss"] < steps[0]["loss"]


@pytest.mark.parametrize(
    ("method", "bound"),
    [
        ("ia3", 0.0),  # the same sums, whatever stands beside the base
        ({"kind": "lora", "rank": 4, "start": "pissa", "dora": True}, 1e-6),  # what cancels is rounded
        ({"kind": "bottleneck", "size": 4, "place": "parallel"}, 0.0),
    ],
)
def test_the_reference_is_the_base_up_to_rounding(
    begin: Begin, method: Any, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunewright.proofs import reference

    monkeypatch.setattr(reference, "BOUND", bound)
    recipe, run = begin(method=method, epochs=1)
    [proof] = [proof for proof in train(recipe, run).proofs if proof.name == "reference"]
    assert proof.holds, proof.measured


def test_patience_ends_a_training_and_the_best_look_is_kept(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([5.0, 4.0, 3.0, 3.5, 3.4, 3.6, 9.9])
    monkeypatch.setattr(step_module, "look", lambda *given, **options: Look(Means({"nll": (next(looks), 1.0)})))
    recipe, run = begin(epochs=20, evaluate_every=1, save_every=50, patience=3)
    report = train(recipe, run)
    assert (report.numbers["steps"], report.numbers["best_step"], report.numbers["checkpoint"]) == (5, 2, "step-000002")
    assert {"early_stop", "overfitting"} <= {finding.name for finding in report.findings}
    [alarm] = run.events("alarm")
    assert alarm["step"] == 4
    assert sorted(folder.name for folder in run.path("checkpoints").glob("step-*")) == ["step-000002", "step-000005"]


def test_the_ends_of_the_last_epochs_are_looked_at_and_kept(begin: Begin) -> None:
    recipe, run = begin(epochs=4, batch=5, evaluate_every=50, save_every=50, keep_epochs=2)  # 4 steps an epoch
    report = train(recipe, run)
    assert [row["step"] for row in run.events("validation")] == [0, 4, 8, 12, 16]
    folders = {folder.name: folder for folder in run.path("checkpoints").glob("step-*")}
    assert folders.keys() == {"step-000012", "step-000016", report.numbers["checkpoint"]}
    assert {storage.read_json(folder / "state.json")["per_epoch"] for folder in folders.values()} == {4}
    whole, other = begin("none-kept", epochs=4, batch=5, evaluate_every=50, save_every=50)
    train(whole, other)
    assert [folder.name for folder in other.path("checkpoints").glob("step-*")] == ["step-000016"]
    last = (folders["step-000016"], other.path("checkpoints", "step-000016"))
    kept, plain = (storage.sha256(folder / "model" / "adapter_model.safetensors") for folder in last)
    assert kept == plain, "what is kept changes no weight"


def test_the_share_of_tokens_that_the_model_would_say_is_told(begin: Begin) -> None:
    recipe, run = begin(epochs=12, lr=0.02)
    report = train(recipe, run)
    steps = [row["token_accuracy"] for row in run.events("step")]
    assert all(0 <= share <= 1 for share in steps) and steps[-1] > 0.9 > steps[0]
    best = next(row for row in run.events("validation") if row["step"] == report.numbers["best_step"])
    assert report.numbers["metrics"]["validation"] == {"token_accuracy": best["token_accuracy"]}


def test_a_training_that_never_beats_its_start_says_so(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([3.0, 4.0, 3.5, float("nan"), 1.0])
    monkeypatch.setattr(step_module, "look", lambda *given, **options: Look(Means({"nll": (next(looks), 1.0)})))
    recipe, run = begin(evaluate_every=1, patience=3)
    report = train(recipe, run)
    assert report.numbers["steps"] == 3
    assert not any(row["best"] for row in run.events("validation") if row["step"] > 0)
    assert "never_better" in {finding.name for finding in report.findings}


def test_looks_at_general_text_are_told_and_change_no_weight(begin: Begin) -> None:
    trained = {}
    for watch in (True, False):
        recipe, run = begin(f"watch-{watch}".lower(), {"kind": "lora", "dropout": 0.1}, watch=watch)
        trained[watch] = run, train(recipe, run)
    (run, watched), (other, plain) = trained[True], trained[False]
    assert all(torch.equal(tensor, weights_of(other, plain)[name]) for name, tensor in weights_of(run, watched).items())
    seen = watched.numbers["general_text"]
    assert seen["steps"] == [row["step"] for row in run.events("validation")]
    assert len(set(seen["nats"])) > 1 and all(0 < nats < 20 for nats in seen["nats"])
    assert "general_text" not in plain.numbers and not list(other.events("general_text"))


def test_a_training_that_goes_on_has_each_look_at_general_text_once(begin: Begin) -> None:
    recipe, run = begin()
    run.listeners.append(
        lambda row: run.stop.set() if row["event"] == "general_text" and row["step"] in (3, 9) else None
    )
    for _ in range(2):
        with pytest.raises(Stopped):
            train(recipe, run)
        run.stop.clear()
    run.listeners.clear()
    recipe, whole = begin("whole")
    assert train(recipe, run).numbers["general_text"] == train(recipe, whole).numbers["general_text"]
