"""A training that learned its rows by heart is caught, one that did not is left in peace: trained for real, tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tunewright.core import canaries, storage
from tunewright.core.recipe import Recipe
from tunewright.core.report import GuardResult, Measure, Report
from tunewright.core.run import Run
from tunewright.stages import guarding, lineup, planting
from tunewright.stages.train import train
from tunewright.stages.verdict import Measured, judge

Trained = Callable[..., GuardResult]
WORDS = (
    "card", "bank", "fee", "rate", "euro", "home", "loan", "cash", "gold", "lost", "sent", "paid", "late", "open",
    "shut", "blue",
)  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path, tiny: Callable[[str], Path]) -> Trained:
    """trained(num_rows, epochs, lr): what the guard finds after a real training on random answers."""

    def made(num_rows: int, *, epochs: int, lr: float, seed: int, count: int = 4, **options: Any) -> GuardResult:
        values = {
            "name": f"job-{seed}",
            "data": {"sources": ["rows.jsonl"], "canaries": {"count": count, "repeats": [1, 4], "seed": seed}},
            "model": str(tiny("llama")),
            "method": "full",
            "evaluate": {"max_new_tokens": 16, "guards": [{"kind": "memorisation", "prefix": 4, **options}]},
            "train": {
                "epochs": epochs, "batch": 8, "lr": lr, "max_tokens": 96, "micro_tokens": 1024, "evaluate_every": 999,
                "save_every": 999, "dtype": "float32", "device": "cpu", "patience": 0, "seed": seed, "watch": False,
            },
        }  # fmt: skip
        recipe = Recipe.parse(values, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        draw = Random(seed)
        for side, size in (("train", num_rows), ("validation", 30), ("test", 70)):
            rows = [_row(f"{side}:{number}", draw) for number in range(size)]
            storage.write_jsonl(run.path("data", f"{side}.jsonl"), rows)
        planting.planted(recipe, run, Report(stage="prepare", run=run.name)).save(run.path("prepare"))
        train(recipe, run).save(run.path("train"))
        run.update(state="done")
        [found] = guarding.guard(recipe, run, lineup.models(recipe, run), {}, lambda *_: [])
        return found

    return made


def _row(name: str, draw: Random) -> dict[str, Any]:
    said = " ".join(draw.choice(WORDS) for _ in range(6))
    asked = f"{draw.choice(WORDS)} {draw.randrange(10_000)}"
    return {
        "id": name,
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
    }


def of(found: GuardResult, begins: str) -> Measure:
    return next(one for one in found.measures if one.name.startswith(begins))


def test_many_epochs_on_few_rows_are_caught(trained: Trained) -> None:
    found = trained(32, epochs=40, lr=0.01, seed=1)
    assert found.state == "broken"
    away = of(found, "planted secrets given away")
    assert away.value >= 1 and away.base == 0 and away.state == "broken"
    assert of(found, "exposure of the most exposed planted").value > 9
    assert of(found, "exposure of the most exposed secret that").value < 9
    auc = of(found, "membership inference, AUC")
    assert auc.low is not None and auc.low > 0.8
    assert of(found, "gap").value > 0.3
    assert of(found, "answers that go on").value > 0.3
    told = [one.name for one in found.findings]
    assert told.count("memorised") == 2 and "secret_given_away" in told and "secret_exposed" in told
    judged = judge(None, [Measured("exact", 1.0, 0.9, 1.0, 50, True)], [], (), [found])
    assert judged.verdict == "NO-GO" and "planted secrets given away" in judged.reason


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_quiet_epoch_on_many_rows_is_not(trained: Trained, seed: int) -> None:
    found = trained(160, epochs=1, lr=0.002, seed=seed, membership_hits=0.2, verbatim=0.1)
    assert found.state == "holds"
    assert {one.name for one in found.findings} == {"rows_compared"}
    assert of(found, "planted secrets given away").value == 0
    auc = of(found, "membership inference, AUC")
    assert auc.low is not None and auc.low < 0.6


def test_planted_rows_are_learned_from_and_nothing_else(trained: Trained, tmp_path: Path) -> None:
    trained(24, epochs=1, lr=0.001, seed=5)
    run = Run.open("job-5", runs=tmp_path / "runs")
    training = run.split("train")
    planted = [row for row in training if canaries.is_planted(row)]
    assert len(planted) == 2 * (1 + 4) and len({row.id for row in training}) == len(training) == 34
    assert not any(canaries.is_planted(row) for side in ("validation", "test") for row in run.split(side))
    prepared = run.report("prepare")
    assert prepared is not None and prepared.numbers["canaries"]["rows"] == 10
    assert prepared.numbers["training_rows"] == 34
    held = [canaries.of_row(row) for row in canaries.read(run.path("data"))]
    assert [one.repeats for one in held] == [1, 4, 1, 4, 0, 0, 0, 0] and len({one.secret for one in held}) == 8
    ledger = [name for row in storage.read_jsonl(run.path("ledger.jsonl")) for name in row["ids"]]
    assert {row.id for row in planted} <= set(ledger)


def test_a_bound_on_answers_that_are_too_short_for_it_stays_open_and_says_why(trained: Trained) -> None:
    found = trained(32, epochs=1, lr=0.002, seed=1, verbatim=0.1, span=64)
    assert (found.state, found.unmeasured) == ("open", ["verbatim"])
    assert any(one.name == "too_short_answers" for one in found.findings)
