"""Two tasks in sequence: what is kept of the first, by each way of keeping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.parts import Past
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models.forest import Forest
from tunewright.models.opening import open_model
from tunewright.models.tunable import TunableModel
from tunewright.stages.continual import transfer
from tunewright.training.encoding import encode
from tunewright.training.keeping import Kept
from tunewright.training.sampler import ShuffledEpochs
from tunewright.training.step import Stepper

WORDS = ["card", "money", "fee", "rate", "account", "branch", "phone", "code", "block", "send", "lost", "late"]
LABELS = ("red", "blue", "green")
SFT = catalog.build("objectives", "sft")
STEPS, BATCH = 60, 6


def task(shift: int, label: str | None = None, lead: str = "") -> list[Example]:
    """Each word has a label of its own; another shift gives other labels to the same words."""
    return [
        Example(
            id=f"{lead}{number}",
            messages=[
                Message(role="user", content=f"{lead} {word}"),
                Message(role="assistant", content=label or LABELS[(number * 7 // 3 + shift) % 3]),
            ],
        )
        for number, word in enumerate(WORDS)
    ]


def learn(model: TunableModel, examples: list[Example], retention: list[Any], past: Any = None) -> None:
    """Train every weight on a task."""
    method = catalog.build("methods", "full")
    method.attach(model.net)
    units = encode(examples, SFT, model.chat, max_tokens=96).units
    kept = Kept({choice["kind"]: catalog.build("retention", choice).keep(past) for choice in retention})
    stepper = Stepper(model, method, SFT, TrainOptions(lr=2e-3, micro_tokens=400, weight_decay=0.0))
    order = ShuffledEpochs(len(units), batch=BATCH, seed=0, steps=STEPS)
    for step in range(1, STEPS + 1):
        chosen = [units[member] for member in order.step(step).members]
        assert stepper.take(chosen, factor=1.0, seed=step, gradients=kept.gradients(step)).taken


@torch.no_grad()
def accuracy(model: TunableModel, make: Callable[[str | None], list[Example]]) -> float:
    """The share of words whose own label is the likeliest."""
    said = []
    for label in LABELS:
        units = encode(make(label), SFT, model.chat, max_tokens=96).units
        said.append(model.logprobs(Forest.build([row for unit in units for row in unit])))
    best = torch.stack(said).argmax(0).tolist()
    return sum(LABELS[place] == example.answer for place, example in zip(best, make(None), strict=True)) / len(WORDS)


def first(label: str | None = None) -> list[Example]:
    return task(0, label, "bank")


def second(label: str | None = None) -> list[Example]:
    return task(1, label, "shop")


@pytest.fixture(scope="module")
def learned(open_tiny: Callable[..., TunableModel], tmp_path_factory: Any) -> Callable[[], TunableModel]:
    """learned(): a fresh copy of a model that knows the first task."""
    model = open_tiny("llama")
    learn(model, first(), [])
    folder = tmp_path_factory.mktemp("learned")
    model.save(folder)
    return lambda: open_model(ModelOptions(base=str(folder)))


def test_replay_forgets_least_and_ewc_less_than_nothing(learned: Any, open_tiny: Any, tmp_path: Path) -> None:
    untouched = open_tiny("llama")
    before = [accuracy(untouched, first), accuracy(untouched, second)]
    found = {}
    for name, retention in {
        "plain": [],
        "ewc": [{"kind": "ewc", "strength": 1e5, "rows": 12}],
        "replay": [{"kind": "replay", "share": 0.5}],
    }.items():
        model = learned()
        earlier = encode(first(), SFT, model.chat, max_tokens=96).units
        past = Past(
            model=model, units=lambda earlier=earlier: [earlier],  # type: ignore[misc]
            open_runs=[learned], trained=[], batch=BATCH, seed=0, folder=tmp_path / name,
            poll=lambda: None,
        )  # fmt: skip
        model.net.requires_grad_(True)
        at_first = [accuracy(model, first), accuracy(model, second)]
        learn(model, second(), retention, past)
        found[name] = [at_first, [accuracy(model, first), accuracy(model, second)]]
        assert found[name][1][1] == 1.0, "the second task is learned all the same"
    backward = {name: transfer(before, values).backward for name, values in found.items()}
    assert backward["replay"] > backward["ewc"] >= backward["plain"], backward
    assert backward["plain"] < -0.5, "without any, the first task is forgotten"
