"""Several tasks: shares are the formula's, orders are fresh, and figures are told for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages.train import train
from tunewright.training.sampler import MixedEpochs

SIZES = (80, 15, 5)
TASKS = np.repeat(np.arange(3), SIZES)


@pytest.mark.parametrize(
    ("temperature", "cap", "shares"),
    [
        (1.0, None, [0.8, 0.15, 0.05]),
        (2.0, None, [n**0.5 / (80**0.5 + 15**0.5 + 5**0.5) for n in SIZES]),
        (1e9, None, [1 / 3] * 3),
        (1.0, 10, [10 / 25, 10 / 25, 5 / 25]),
    ],
)
def test_an_epoch_has_the_shares_of_the_formula(temperature: float, cap: int | None, shares: list[float]) -> None:
    sampler = MixedEpochs(TASKS, temperature=temperature, cap=cap, batch=10, seed=1, epochs=2)
    for epoch in range(2):
        drawn = [m for n in range(10) for m in sampler.step(epoch * 10 + n + 1).members]
        counts = np.bincount(TASKS[drawn], minlength=3)
        assert len(drawn) == 100 and np.abs(counts - np.array(shares) * 100).max() < 1


def test_all_examples_of_a_task_come_before_any_comes_again() -> None:
    sampler = MixedEpochs(TASKS, temperature=1e9, cap=None, batch=100, seed=2, epochs=3)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for number in (1, 2, 3):
        for member in sampler.step(number).members:
            seen[int(TASKS[member])].append(member)
    for task, members in seen.items():
        size = SIZES[task]
        drawn = Counter(members)
        assert max(drawn.values()) - min(drawn[m] for m in np.flatnonzero(task == TASKS).tolist()) <= 1
        assert len(members) > size


def test_a_mixed_step_is_the_same_whenever_it_is_asked_for() -> None:
    forward, backward = (MixedEpochs(TASKS, temperature=2, cap=None, batch=9, seed=1, epochs=3) for _ in range(2))
    steps = [forward.step(n) for n in range(1, 30)]
    assert [backward.step(n) for n in range(29, 0, -1)] == steps[::-1]
    assert MixedEpochs(TASKS, temperature=2, cap=None, batch=9, seed=2, epochs=3).step(1) != steps[0]


@pytest.fixture
def begin(tmp_path: Path, tiny: Callable[[str], Path]) -> Callable[[dict[str, Any]], tuple[Recipe, Run]]:
    def made(mix: dict[str, Any]) -> tuple[Recipe, Run]:
        values = {
            "name": "mixed", "data": {"sources": ["rows.jsonl"], "mix": mix}, "model": str(tiny("llama")),
            "method": "lora", "evaluate": {"max_new_tokens": 8, "graders": ["exact"]},
            "train": {
                "steps": 4, "batch": 6, "lr": 0.003, "max_tokens": 96, "micro_tokens": 64, "evaluate_every": 2,
                "save_every": 2, "dtype": "float32", "device": "cpu", "patience": 0,
            },
        }  # fmt: skip
        recipe = Recipe.parse(values, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        for split, count in (("train", 20), ("validation", 6), ("test", 4)):
            rows = [
                {
                    "id": f"{'small' if n % 4 == 0 else 'large'}.jsonl:{n}",
                    "messages": [
                        {"role": "user", "content": f"{split} {n}"},
                        {"role": "assistant", "content": "yes" if n % 4 else "no"},
                    ],
                    "meta": {"team": "a" if n % 2 else "b"},
                }
                for n in range(count)
            ]
            storage.write_jsonl(run.path("data", f"{split}.jsonl"), rows)
        return recipe, run

    return made


def test_training_draws_each_task_by_its_share_and_tells_its_loss(begin: Any) -> None:
    recipe, run = begin({"temperature": 1e9})
    train(recipe, run)
    ids = [one for row in storage.read_jsonl(run.path("ledger.jsonl")) for one in row["ids"]]
    counts = Counter(one.partition(".")[0] for one in ids[:20])
    assert counts == {"small": 10, "large": 10}
    looks = list(run.events("validation"))
    assert all({"loss/small.jsonl", "loss/large.jsonl"} <= set(one) for one in looks)
    for one in looks:
        assert min(one["loss/small.jsonl"], one["loss/large.jsonl"]) <= one["loss"]
        assert one["loss"] <= max(one["loss/small.jsonl"], one["loss/large.jsonl"])


def test_tasks_of_a_column_and_a_mix_of_one(begin: Any) -> None:
    recipe, run = begin({"by": "team"})
    train(recipe, run)
    assert {"loss/a", "loss/b"} <= set(next(iter(run.events("validation"))))
    recipe, run = begin({"by": "nothing"})
    with pytest.raises(DataError, match="all rows belong to one task"):
        train(recipe, run)
