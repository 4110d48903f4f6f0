"""A run of a bank's support desk, written by hand as the stages would leave it: complete, partial, or of any length."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.report import Finding, GuardResult, Measure, ProofResult, Report
from tunewright.core.run import Run

STAGES = ("prepare", "choose", "train", "evaluate", "deploy")
RECIPE = """\
name: support-desk
data:
  sources:
  - /home/ada/bank/train.jsonl
  format: instruction  # default: detected from the columns when 'auto'
  fields: {}
  test: /home/ada/bank/test.jsonl
  split:  # default: how rows are parted
    train: 0.7  # default: share of the rows to learn from
    validation: 0.15  # default: share that watches training (early stopping)
  max_bad: 0.1  # default: more unreadable rows than this share stop the run with a question
model:
  base: nano  # default: the bundled base; or a folder, or a Hub id
method: {kind: lora, rank: 16}  # 1,310 rows: an adapter learns them well and stays small
objective: sft  # default: learn the answers
train:
  epochs: 4.0  # few rows and a small base: four passes
  batch: 16  # 1,310 rows: about 80 steps an epoch
  lr: 0.004  # adapters of a 4.7M base bear a high rate; larger bases need less
  schedule: cosine  # default: how the learning rate falls; cosine is forgiving
evaluate:
  graders:
  - {kind: exact, name: intent, field: intent}
  - {kind: rouge, name: response, field: response}
  against: [base, few_shot]
  goal: {grader: intent, at_least: 0.85, beat: [base, few_shot], level: 0.05}
  slice: source
"""
MESSAGES = (
    (
        "someone rang pretending to be you lot and i gave them the code, now theres 2 payments i dont know",
        "Fraud Report",
    ),
    (
        "Hello, I would like to know until what time your branch in the old town is open on Saturdays, please.",
        "General Inquiry",
    ),
    ("LOCKED OUT AGAIN!!! third time this week your app says wrong passcode and it is NOT wrong", "Account Access"),
    ("charged twice for one taxi, 18.40 both times, driver says its you and you say its him", "Transaction Dispute"),
)
INTENTS = ("Account Access", "Fraud Report", "Transaction Dispute", "General Inquiry")


def measured(value: float, n: int, reach: float) -> dict[str, Any]:
    return {"value": max(0.0, value), "low": max(0.0, value - reach), "high": min(1.0, value + reach * 0.8), "n": n}


def answer(
    intent: str, response: str = "Thank you for telling us. Which card is it? A colleague will look at it today."
) -> str:
    return json.dumps({"intent": intent, "response": response})


def samples() -> list[dict[str, Any]]:
    rows = []
    for number, (text, intent) in enumerate(MESSAGES):
        tuned = intent if number != 3 else "General Inquiry"
        others = {"base": "the the bank is a of the money and the", "few_shot": answer("General Inquiry")}
        rows.append(
            {
                "id": f"test:{number + 1}",
                "prompt": text,
                "expected": answer(intent),
                "slice": ("hand", "generated")[number % 2],
            }
            | {"answers": {"tuned": answer(tuned), **others}}
            | {"scores": {"tuned": float(tuned == intent), "base": 0.0, "few_shot": float(intent == "General Inquiry")}}
        )
    return rows


def prepared(run: str) -> Report:
    edges = [20 + 14 * number for number in range(21)]
    counts = [round(160 * math.exp(-((number - 6) ** 2) / 18)) for number in range(20)]
    lengths = {"min": 12, "median": 98, "p95": 214, "max": 301, "histogram": {"edges": edges, "counts": counts}}
    return Report(
        stage="prepare",
        run=run,
        seconds=1.4,
        numbers={
            "sources": {"/home/ada/bank/train.jsonl": "ab12", "/home/ada/bank/test.jsonl": "cd34"},
            "format": "instruction",
            "rows": {"read": 1561, "kept": 1543, "quarantined": 3, "duplicates": 15, "twins_dropped": 0}
            | {"train": 1086, "validation": 235, "test": 222},
            "quarantine": {"not valid JSON": 2, "the answer is empty": 1},
            "labels": {
                label: {"train": 300 - 35 * place, "validation": 60, "test": 52} for place, label in enumerate(INTENTS)
            },
            "lengths": {"unit": "characters", "prompt": lengths, "answer": lengths | {"median": 141}},
            "imbalance": 1.54,
            "diversity": {"rows_looked_at": 1543, "distinct_4grams_share": 0.912},
            "system_messages": ["Read the customer's message. Reply in JSON with intent and response."],
        },
        findings=[
            Finding(name="twins", message="Rows differ in case only.", count=9, example="card blocked help"),
            Finding(
                name="contradictions", severity="warning", count=4, example="is this you calling me?",
                message="The same prompt has different answers.",
                remedy="Correct them in train.jsonl: the model cannot learn both.",
            ),
        ],
    )  # fmt: skip


def chosen(run: str) -> Report:
    reasons = {key: why for key, why in re.findall(r"^  (\w+): .*?  # (.*)$", RECIPE, re.MULTILINE)}
    return Report(
        stage="choose",
        run=run,
        seconds=2.1,
        numbers={
            "reasons": {f"train.{key}": why for key, why in reasons.items() if key in ("epochs", "batch", "lr")}
            | {
                "method": "1,310 rows: an adapter learns them well and stays small",
                "train.schedule": "default: forgiving",
            },
            "rejected": [{"what": "method: full", "why": "with 1,310 rows all weights would learn them by heart"}],
            "steps": 272,
            "tokens": 810_000,
            "seconds": 71.0,
            "memory_bytes": 420 * 2**20,
            "trainable_parameters": 466_944,
        },
    )


def trained(run: str) -> Report:
    claims = {
        "mask": (
            "decoded learned spans are exactly the answers and their end-of-turn token",
            "8 of 8 rows",
            "all rows",
        ),
        "template": ("training, evaluation and serving send identical token ids", "identical for 8 of 8", "identical"),
        "packing": ("loss and gradient of the forest equal those of the rows alone", 3.1e-7, 1e-5),
        "accumulation": ("gradients do not change with micro_tokens", 4.0e-7, 1e-5),
        "merge": ("merged weights answer as base plus adapter do", 2.2e-6, 1e-4),
        "split": ("no test row has an exact or normalised twin in training", "0 twins", "0 twins"),
    }
    return Report(
        stage="train",
        run=run,
        seconds=88.2,
        numbers={
            "steps": 272, "planned_steps": 272, "best_step": 238, "validation_loss": 0.412, "tokens": 803_112,
            "training_seconds": 79.6, "tokens_per_second": 10_089.0, "trainable_parameters": 466_944,
            "peak_memory_bytes": 512 * 2**20,
        },
        proofs=[ProofResult(name=name, claim=c, measured=m, bound=b, holds=True) for name, (c, m, b) in claims.items()],
    )  # fmt: skip


def guards() -> list[GuardResult]:
    """Guards that hold, are told, and draw what they measured."""
    collapse = Measure(
        name="labels off the task", value=0.02, low=0.0, high=0.11, n=40, base=0.0, tuned=0.02, bound=0.2
    )
    general = Measure(name="general text, nats a token", value=0.05, low=0.02, high=0.08, n=200, base=3.41, tuned=3.46)
    samples = [{"asked": "What is the capital of France?", "base": "Paris", "tuned": "General Inquiry"}]
    bins = [{"confidence": (n + 0.5) / 10, "accuracy": 0.94 * (n + 0.5) / 10, "n": n * n} for n in range(2, 10)]
    covered = [{"coverage": n / 10, "accuracy": 1 - n * n / 1500, "low": 0.97 - n * n / 1300} for n in range(1, 11)]
    surest = Measure(name="coverage at 0.99", value=0.81, low=0.74, high=0.86, n=222, bound=0.7, side="at least")
    return [
        GuardResult(guard="forgetting", question="What was lost beside the task?", measures=[collapse, general],
                    samples=samples),
        GuardResult(guard="confidence", question="Does its confidence mean what it says?", measures=[surest],
                    figures={"reliability": bins, "coverage": [one | {"threshold": 0.5} for one in covered]}),
    ]  # fmt: skip


def evaluated(run: str) -> Report:
    def figures(exact: float, rouge: float, seconds: float, cost: float) -> dict[str, Any]:
        slices = {
            name: {"intent": measured(exact - shift, n, 0.06)}
            for name, shift, n in (("generated", -0.01, 150), ("hand", 0.04, 72))
        }
        both = {"intent": measured(exact, 222, 0.036), "response": measured(rouge, 222, 0.028)}
        costs = {"latency_p50": seconds / 90, "latency_p95": seconds / 60, "cost_per_1000": cost}
        costs |= {"prompt_tokens": round(9000 * cost), "completion_tokens": 9711, "seconds": seconds}
        return both | costs | {"answers_per_second": 222 / seconds, "slices": slices}

    comparison = {"grader": "intent", "low": 0.86, "high": 0.95, "p": 0.0, "wins": 205, "losses": 0, "n": 222}
    return Report(
        stage="evaluate",
        run=run,
        seconds=41.0,
        verdict="GO",
        reason="intent is 0.932 (95 % interval 0.891 to 0.958, 222 test rows): its lower end reaches the 0.850 asked "
        "for, and it beats base by 0.923 (p < 0.0001) and few_shot by 0.666 (p < 0.0001)",
        contestants={
            "tuned": figures(0.932, 0.641, 9.2, 1.2),
            "base": figures(0.009, 0.082, 12.8, 1.1),
            "few_shot": figures(0.266, 0.301, 18.5, 4.9),
        },
        guards=guards(),
        numbers={
            "grader": "intent",
            "goal": {"grader": "intent", "at_least": 0.85, "beat": ["base", "few_shot"], "level": 0.05},
            "comparisons": [
                comparison | {"against": "base", "difference": 0.923, "p_holm": 0.0},
                comparison | {"against": "few_shot", "difference": 0.666, "p_holm": 0.00002, "losses": 3},
            ],
            "budget": {"latency": 0.5, "cost_per_1000": 4.0},
            "fronts": {"cost_per_1000": ["base", "tuned"], "latency_p95": ["tuned"]},
            "changes": ["with 60 more test rows its lower end would reach 0.900 (chance 80%)"],
            "people": {"raters": 3, "alpha": 0.71, "strengths": [{"name": "tuned", "strength": 1.3}, {"name": "base"}]},
            "openings": 2,
            "samples": samples(),
            "errors": [{"expected": "Transaction Dispute", "got": "General Inquiry", "n": 6, "example": "test:4"}],
        },
    )


def released(run: str) -> Report:
    return Report(stage="deploy", run=run, seconds=1.9, numbers={"release": "001"}, next=f"tunewright chat runs/{run}")


MAKERS = {"prepare": prepared, "choose": chosen, "train": trained, "evaluate": evaluated, "deploy": released}


def events(num_steps: int, every: int) -> list[dict[str, Any]]:
    draw, rows = random.Random(0), []
    for step in range(1, num_steps + 1):
        ideal = 0.34 + 2.9 * math.exp(-step / (num_steps / 7))
        lr = 0.004 * min(1.0, step / (0.05 * num_steps)) * 0.5 * (1 + math.cos(math.pi * step / num_steps))
        facts = {"tokens": 2900, "forest_tokens": 1800, "learned_tokens": 700, "grad_norm": 0.6, "seconds": 0.29}
        loss = ideal * draw.lognormvariate(0, 0.11)
        rows.append(
            {
                "event": "step",
                "time": 0.0,
                "step": step,
                "total": num_steps,
                "epoch": step / 68,
                "loss": loss,
                "lr": lr,
                **facts,
            }
        )
        if step % every == 0:
            held = ideal * 1.05 + 0.00035 * max(0, step - 0.85 * num_steps) * 272 / num_steps
            rows.append({"event": "validation", "time": 0.0, "step": step, "loss": held, "best": True})
    return rows


def make_run(folder: Path, *, stages: tuple[str, ...] = STAGES, num_steps: int = 272, every: int = 34) -> Run:
    """A run written by hand, as the stages would leave it."""
    run = Run(folder / "support-desk")
    storage.write_json(
        run.path("run.json"), {"name": run.name, "state": "running", "stage": "deploy", "step": 0, "total": 0}
    )
    storage.write_text(run.path("recipe.yaml" if "choose" in stages else "recipe.given.yaml"), RECIPE)
    for stage in stages:
        MAKERS[stage](run.name).save(run.path(stage))
    if "train" in stages:
        storage.write_jsonl(run.path("events.jsonl"), events(num_steps, every))
    if "deploy" in stages:
        about = {
            "base": "nano",
            "method": {"kind": "lora", "rank": 16},
            "verdict": "GO",
            "formats": {"adapter": "adapter", "merged": "merged"},
        }
        with storage.new_folder(run.path("releases", "001"), about=about | {"decode": {"kind": "generate"}}) as release:
            (release / "README.md").write_text("A release.\n")
    return run
