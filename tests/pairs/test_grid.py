"""Each objective with each method, found through the catalog: a new part is covered by being there."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import CannotMerge
from tunewright.core.example import Example, Message, Span
from tunewright.core.parts import Layout, Method, Objective
from tunewright.core.recipe import ModelOptions, TrainOptions
from tunewright.models.forest import Forest, Row, prompt_length
from tunewright.models.heads import attach_head, load_head, save_head
from tunewright.models.opening import open_model
from tunewright.models.own_weights import digests
from tunewright.models.reference import Reference
from tunewright.models.tunable import TunableModel
from tunewright.stages.defaults import learning_rate, rate_group
from tunewright.training.encoding import encode
from tunewright.training.step import Stepper, gradients, validation_loss

SAID = [
    ("my card was stolen", "fraud", "rates"),
    ("what does a euro cost", "rates", "delivery"),
    ("where is the parcel", "delivery", "fraud"),
    ("someone took my card", "fraud", "delivery"),
]
PROBE = [Row([(13 * n) % 290 for n in range(30)], [0.0] + [1.0] * 29, "probe")]
STEPS = 25
RATES = {
    "bitfit": 3e-2,
    "ia3": 1e-1,
    "bottleneck": 1e-2,
    "peft": 1e-2,
    "prefix": 2e-2,
}  # few weights want more; a root not so much that it jumps about
FACTS = {"labels": {label: {"train": 2} for label in "12"}, "entities": {"first": {"train": 4}}}  # what prepare tells


def example(number: int, question: str, good: str, bad: str) -> Example:
    """A row with everything that any objective may need."""
    asked = Message(role="user", content=question)
    return Example(
        id=f"e{number}",
        messages=[asked, Message(role="assistant", content=good)],
        rejected=[Message(role="assistant", content=bad)],
        label="1" if good == "fraud" else "2",
        spans=[Span(start=0, end=2, label="first")],
        text=f"{question}: {good}",
    )


@dataclass
class Trained:
    """One cell of the grid after training."""

    method: Method
    objective: Objective
    model: TunableModel
    untouched: torch.Tensor
    at_start: torch.Tensor  # switched off, where the method does not begin as the base
    frozen: dict[str, str]
    first_loss: float
    last_loss: float
    num_trained: int

    def said(self, model: TunableModel | None = None) -> torch.Tensor:
        return logprobs(model or self.model)


def logprobs(model: TunableModel) -> torch.Tensor:
    with torch.no_grad():
        return model.token_logprobs(model.forest(PROBE))


GRID = [(objective, method) for objective in catalog.kinds("objectives") for method in catalog.kinds("methods")]


@pytest.fixture(scope="module", params=GRID, ids=["-".join(cell) for cell in GRID])
def trained(
    request: pytest.FixtureRequest, open_tiny: Callable[..., TunableModel], part_options: dict[str, dict[str, Any]]
) -> Trained:
    """Train one pair for a few steps on four rows."""
    (kind, other), options = request.param, part_options
    samples = catalog.part_class("objectives", kind).on_policy  # type: ignore[attr-defined]
    given = {**options.get(kind, {}), **({"reward": "exact"} if samples else {})}
    objective = catalog.build("objectives", {"kind": kind, **given})
    method = catalog.build("methods", {"kind": other, **options.get(other, {})})
    # answers of advantage 1 must become likelier, whatever the loss says
    judge = catalog.build("objectives", "sft") if samples else objective
    model = open_tiny("llama")
    method.quantise(model.net)
    untouched = logprobs(model)
    objective = objective.fitted(FACTS)
    method.attach(model.net, seed=1)
    attach_head(model.net, objective.head, seed=1)
    with nullcontext() if method.starts_as_base else method.off(model.net):
        at_start = logprobs(model)
    frozen = digests(model.net)
    units = encode([example(n, *said) for n, said in enumerate(SAID)], objective, model.chat, max_tokens=128).units
    model.others = {name: open_tiny("qwen3") for name in objective.others}
    model.reference = Reference(model, method, lambda: open_tiny("llama"))
    group = rate_group(method.rates, has_adapter=method.has_adapter)
    rate = RATES.get(method.kind, max(3e-3, learning_rate(group, model.num_parameters)))
    stepper = Stepper(model, method, objective, TrainOptions(lr=rate, micro_tokens=60, weight_decay=0.0))
    judge = judge.fitted(FACTS) if samples else objective
    first = validation_loss(model, judge, units, micro_tokens=60, poll=lambda: None)
    steps = STEPS if method.starts_as_base else 3 * STEPS  # a root is few numbers, begun at random
    for step in range(steps):
        method.at(model.net, step=step + 1, total=steps, per_epoch=steps // 5)
        assert stepper.take(units, factor=1.0, seed=step).taken
    last = validation_loss(model, judge, units, micro_tokens=60, poll=lambda: None)
    return Trained(
        method, objective, model, untouched, at_start, frozen, first, last, sum(p.numel() for p in stepper.parameters)
    )


def test_an_attached_method_answers_like_the_base_before_training(trained: Trained) -> None:
    assert torch.allclose(trained.at_start, trained.untouched, atol=1e-6)


def test_loss_falls(trained: Trained) -> None:
    assert trained.num_trained > 0
    assert trained.last_loss < 0.8 * trained.first_loss
    assert not torch.allclose(trained.said(), trained.untouched, atol=1e-3)


def test_the_models_own_answers_are_sampled_and_learned(trained: Trained) -> None:
    if not trained.objective.on_policy:
        pytest.skip("learns from given rows")
    model, objective = trained.model, trained.objective.model_copy(update={"max_new_tokens": 6})
    rows = encode([example(n, *said) for n, said in enumerate(SAID)], objective, model.chat, max_tokens=128).units
    asked = [(example(n, *SAID[n]), row.items[: prompt_length(row)]) for n, [row] in enumerate(rows)]
    found = objective.collect(
        model,
        asked,
        reward=lambda examples, answers: [float(len(answer)) for answer in answers],
        seed=1,
        layout=Layout(micro_tokens=60, max_tokens=128),
        poll=lambda: None,
    )
    assert found.units and found.figures["reward"] > 0
    terms = gradients(model, objective, found.units, micro_tokens=60, share=True)[1]
    assert terms and all(map(math.isfinite, terms.values()))


def test_reference_stays_put_while_training(trained: Trained) -> None:
    assert digests(trained.model.net, set(trained.frozen)) == trained.frozen
    try:
        with trained.method.off(trained.model.net):
            assert torch.allclose(trained.said(), trained.untouched, atol=1e-6)
    except CannotMerge:
        assert not trained.method.has_adapter
    assert not torch.allclose(trained.said(), trained.untouched, atol=1e-3)


def test_saved_and_opened_again_is_the_same(
    trained: Trained, open_tiny: Callable[..., TunableModel], tmp_path: Path
) -> None:
    trained.method.save(trained.model.net, tmp_path / "saved")
    save_head(trained.model.net, tmp_path / "saved")
    again = open_tiny("llama")
    trained.method.quantise(again.net)
    trained.method.attach(again.net, seed=2)
    trained.method.load(again.net, tmp_path / "saved")
    load_head(again.net, tmp_path / "saved")
    assert torch.equal(trained.said(again), trained.said())
    if trained.objective.head is not None:
        assert torch.equal(again.outputs(Forest.build(PROBE)), trained.model.outputs(Forest.build(PROBE)))


def test_merged_is_the_same_also_after_saving(trained: Trained, tmp_path: Path) -> None:
    before = trained.said()
    try:
        trained.method.merge(trained.model.net)
    except CannotMerge:
        assert trained.method.has_adapter and (trained.method.quantised or not trained.method.mergeable)
        return
    assert torch.allclose(trained.said(), before, atol=1e-5)
    trained.model.save(tmp_path)
    assert torch.allclose(trained.said(open_model(ModelOptions(base=str(tmp_path)))), before, atol=1e-5)
    from transformers import AutoModelForCausalLM

    plain: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32").eval()
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([PROBE[0].items])).logits[0, :-1]
    theirs = torch.log_softmax(logits, -1).gather(1, torch.tensor(PROBE[0].items)[1:, None])[:, 0]
    assert torch.allclose(theirs, before, atol=1e-5)
