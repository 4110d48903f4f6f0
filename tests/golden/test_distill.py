"""Distillation: the loss and gradients of a plain transformers forward, whatever the forest and the micro-batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.recipe import ModelOptions
from tunewright.models.forest import Forest
from tunewright.models.opening import open_model
from tunewright.training.encoding import encode
from tunewright.training.step import gradients

SAID = [("my card was stolen", "fraud"), ("what does a euro cost", "rates"), ("where is the parcel", "delivery")]


def examples() -> list[Example]:
    return [
        Example(id=f"e{n}", messages=[Message(role="user", content=q), Message(role="assistant", content=a)])
        for n, (q, a) in enumerate(SAID)
    ]


@pytest.fixture
def teacher(tiny: Any) -> Any:
    """A net of the same tokens with other weights."""
    model = open_model(ModelOptions(base=str(tiny("qwen3"))))
    model.net.requires_grad_(False)
    return model


def plainly(net: Any, other: Any, rows: Any, temperature: float, mix: float) -> torch.Tensor:
    """The formula of the paper on whole logits, row by row."""
    total = torch.zeros(())
    for row in rows:
        ids = torch.tensor([row.items])
        at = [place for place, weight in enumerate(row.weights) if weight > 0]
        ours = net(input_ids=ids).logits[0, [place - 1 for place in at]]
        with torch.no_grad():
            theirs = other(input_ids=ids).logits[0, [place - 1 for place in at]]
        hard = cross_entropy(ours, ids[0, at], reduction="sum")
        soft = kl_div(log_softmax(ours / temperature, -1), softmax(theirs / temperature, -1), reduction="sum")
        total = total + mix * hard + (1 - mix) * temperature**2 * soft
    return total


@pytest.mark.parametrize(("temperature", "mix"), [(2.0, 0.5), (1.0, 0.0), (3.0, 1.0)])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_loss_and_gradients_are_the_paper_s_on_whole_logits(
    method: str, temperature: float, mix: float, open_tiny: Any, tiny: Any, teacher: Any, gradients_of: Any, gap: Any
) -> None:
    from transformers import AutoModelForCausalLM

    objective = catalog.build("objectives", {"kind": "distill", "teacher": "t", "temperature": temperature, "mix": mix})
    model = open_tiny("llama")
    units = encode(examples(), objective, model.chat, max_tokens=64).units
    model.others = {"teacher": teacher}
    if method == "full":
        model.net.requires_grad_(True)
        plain = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype="float32")
        other = AutoModelForCausalLM.from_pretrained(tiny("qwen3"), dtype="float32")
        loss = plainly(plain, other, [row for unit in units for row in unit], temperature, mix)
        loss.backward()
        counted = objective.counts([row for unit in units for row in unit])["distilled"]
        found, *_ = gradients(model, objective, units, micro_tokens=4096, share=True)
        assert found == pytest.approx(float(loss.detach()) / counted, rel=1e-5)
        theirs = {name: p.grad / counted for name, p in plain.named_parameters() if p.grad is not None}
        assert gap(gradients_of(model.net), theirs) <= 1e-4
    else:
        catalog.build("methods", "lora").attach(model.net)
        gradients(model, objective, units, micro_tokens=4096, share=True)
        whole = gradients_of(model.net)
        model.net.zero_grad()
        gradients(model, objective, units, micro_tokens=8, share=True)
        assert gap(gradients_of(model.net), whole) <= 1e-5


def test_a_model_that_is_its_own_teacher_learns_nothing_from_it(open_tiny: Any) -> None:
    objective = catalog.build("objectives", {"kind": "distill", "teacher": "t", "mix": 0.0})
    model, same = open_tiny("llama"), open_tiny("llama")
    model.others = {"teacher": same}
    model.net.requires_grad_(True)
    [unit, *_] = encode(examples(), objective, model.chat, max_tokens=64).units
    loss = objective.loss(model, Forest.build(unit))
    loss.terms["distilled"][0].backward()
    assert float(loss.terms["distilled"][0].detach()) == pytest.approx(0.0, abs=1e-5)
    assert max(float(p.grad.abs().max()) for p in model.net.parameters() if p.grad is not None) < 1e-4
