"""Trains the bundled base on its own answers and writes how their reward rose: JSON and a picture.

    python benchmarks/results_onpolicy.py                 all of it (about six minutes on two free cores)
    python benchmarks/results_onpolicy.py --steps 10      a quick look

The task can be checked by a program: which of two numbers below 30 is larger, to be answered as {"larger": N}. A short
sft on rows of which a third has that form makes a model that is right at times; from there grpo, ppo and online_dpo are
rewarded half for the form and half for the number. Every job is an ordinary `tunewright run`; finished ones are kept in
runs/onpolicy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
from datetime import date
from pathlib import Path
from typing import Any

import picture
import torch

import tunewright
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run

ROOT = Path(__file__).parent.parent
WORK = ROOT / "runs" / "onpolicy"
OUT = ROOT / "benchmarks" / "results" / "onpolicy"
REWARD = [
    {"kind": "regex", "name": "form", "pattern": r'\A\{"larger": \d+\}\Z', "weight": 0.5},
    {"kind": "exact", "name": "number", "field": "larger", "weight": 0.5},
]
GRADERS = [{key: value for key, value in part.items() if key != "weight"} for part in REWARD]
OBJECTIVES: dict[str, dict[str, Any]] = {
    "grpo": {"kind": "grpo", "group": 8},
    "ppo": {"kind": "ppo", "group": 8, "updates": 2},
    "online_dpo": {"kind": "online_dpo", "group": 4, "updates": 2},
}
SHOWN = 4  # steps that a point of the curve is the mean of


def main() -> None:
    """Make the data, carry every job out, write figures and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="rounds of sampling and learning")
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--only", choices=sorted(OBJECTIVES))
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    start = WORK / "larger-sft"
    carry(job("larger-sft", "mixed", {"epochs": 8, "batch": 8}))
    found = {}
    for name, options in OBJECTIVES.items():
        if asked.only in (None, name):
            objective = {**options, "reward": REWARD, "max_new_tokens": 16}
            train = {"steps": asked.steps, "batch": 16, "lr": asked.lr, "evaluate_every": max(1, asked.steps // 5)}
            recipe = job(
                f"larger-{name}", "form", train, objective=objective, model={"from": str(start)}, method="lora"
            )
            found[name] = figures(carry(recipe), recipe)
    about: dict[str, Any] = {"date": date.today().isoformat(), "machine": platform.processor() or platform.machine()}
    about |= {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    asked.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "objectives": found}, indent=2)
    (asked.out / "rewards.json").write_text(text + "\n", encoding="utf-8")
    (asked.out / "rewards.svg").write_text(drawn(found), encoding="utf-8")


def job(name: str, answers: str, train: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A recipe over the pairs. answers: all in the form that is asked for, or mixed."""
    files = written(answers)
    return {
        "name": name,
        "data": {"sources": [files["train"]], "validation": files["validation"], "test": files["test"]}
        | {"format": "completion"},
        "model": "nano",
        "method": "full",
        "train": {"patience": 0, **train},
        "evaluate": {"graders": GRADERS, "against": ["base"] if answers == "form" else []},
        **parts,
    }


def written(answers: str) -> dict[str, str]:
    """The files of training, validation and test rows: 300, 50 and 100 pairs."""
    draw = random.Random(0)
    pairs = [(first, second) for first in range(30) for second in range(30) if first != second]
    draw.shuffle(pairs)
    files = {}
    for split, part in (("train", pairs[:300]), ("validation", pairs[300:350]), ("test", pairs[350:450])):
        rows = []
        for first, second in part:
            larger = max(first, second)
            plain = answers == "mixed" and split != "test" and draw.random() < 2 / 3
            said = str(larger) if plain else f'{{"larger": {larger}}}'
            rows.append(json.dumps({"prompt": f"{first} or {second}?", "completion": said}))
        path = WORK / "data" / f"{answers}-{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        files[split] = str(path)
    return files


def carry(values: dict[str, Any]) -> Run:
    """The finished run of a recipe."""
    recipe = Recipe.parse(values, folder=WORK)
    tunewright.run(recipe, runs=WORK, override="a benchmark")
    return Run(WORK / recipe.name)


def figures(run: Run, recipe: dict[str, Any]) -> dict[str, Any]:
    """The rewards of a run's steps and looks, what they cost, and the graders' verdict on the test rows."""
    steps = list(run.events("step"))
    trained, tested = run.report("train"), run.report("evaluate")
    assert trained is not None and tested is not None
    kept = ("reward", "kl", "answer_tokens", "ended", "clipped", "even_groups", "sampling_seconds", "learning_seconds")
    return {
        "objective": recipe["objective"],
        "train": recipe["train"],
        "steps": [{key: row[key] for key in ("step", *kept) if key in row} for row in steps],
        "looks": [{"step": row["step"], "reward": row["reward"]} for row in run.events("validation")],
        "seconds": trained.numbers["training_seconds"],
        "test": {key: tested.numbers[key] for key in ("rows", "comparisons")},
    }


def drawn(found: dict[str, dict[str, Any]]) -> str:
    """A curve for each objective: the mean reward of sampled answers over the steps."""
    sweeps = []
    for name, one in found.items():
        rewards = [row["reward"] for row in one["steps"]]
        points = [
            {"at": at + len(part), "reward": sum(part) / len(part)}
            for at in range(0, len(rewards), SHOWN)
            if (part := rewards[at : at + SHOWN])
        ]
        sweeps.append({"title": name, "what": "steps", "units": {"reward": "mean reward"}, "points": points})
    return picture.curves(sweeps, "The reward of sampled answers while training on them")


if __name__ == "__main__":
    main()
