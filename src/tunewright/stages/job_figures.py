"""A job's figures by step, in the API's words, from the events of its run.

Nothing is there that was not measured: a step without a look at the validation rows has no valid_loss.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from tunewright.core.run import Run
from tunewright.stages.on_policy import VALIDATION_PROMPTS
from tunewright.stages.train import VALIDATION_EXAMPLES

COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")
REWARDS = ("train_mean_reward", "valid_mean_reward")
_NAMES = {"token_accuracy": "mean_token_accuracy", "reward": "mean_reward"}  # where the API's word is another
_ABOUT = {  # what a step's event holds beside the objective's own figures
    "event", "time", "step", "total", "epoch", "lr", "tokens", "forest_tokens", "learned_tokens", "grad_norm",
    "seconds", "sampling_seconds", "learning_seconds", "best",
}  # fmt: skip

Figures = dict[str, Any]


def of_step(event: Mapping[str, Any]) -> Figures:
    """What a `step` event says."""
    return {"step": event["step"], "total_steps": event["total"]} | _named("train", event)


def of_look(event: Mapping[str, Any], *, whole: bool) -> Figures:
    """What a `validation` event says. whole: whether it looked at all validation rows."""
    found = _named("valid", event)
    return found | ({f"full_{name}": value for name, value in found.items()} if whole else {})


def looks_at_all(run: Run) -> bool:
    """Whether each look is at all validation rows, not at some of them."""
    prepared = run.report("prepare")
    num_rows = prepared.numbers["rows"]["validation"] if prepared else 0
    most = VALIDATION_PROMPTS if run.recipe().the_objective().on_policy else VALIDATION_EXAMPLES
    return bool(num_rows <= most)


def by_step(run: Run) -> dict[int, Figures]:
    """The figures of all steps so far."""
    found: dict[int, Figures] = {}
    whole = looks_at_all(run)
    for event in run.events():
        if event["event"] == "step":
            found[event["step"]] = of_step(event)
        elif event["event"] == "validation" and event["step"] in found:
            found[event["step"]] |= of_look(event, whole=whole)
    return found


def table(run: Run) -> str:
    """The result file: a line of CSV for each step. train_accuracy: of tokens, or of pairs where pairs are learned.
    Reinforcement has columns for its rewards besides.
    """
    steps = by_step(run)
    rewarded = any("train_mean_reward" in figures for figures in steps.values())
    columns = COLUMNS + REWARDS if rewarded else COLUMNS
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for step, figures in steps.items():
        accuracy = figures.get("train_mean_token_accuracy", figures.get("train_accuracy"))
        row = {**figures, "train_accuracy": accuracy}
        writer.writerow([step, *("" if row.get(name) is None else row[name] for name in columns[1:])])
    return text.getvalue()


def _named(side: str, event: Mapping[str, Any]) -> Figures:
    found = {name: value for name, value in event.items() if name not in _ABOUT and isinstance(value, int | float)}
    return {f"{side}_{_NAMES.get(name, name)}".replace("/", "_"): round(value, 6) for name, value in found.items()}
