"""Layers in NF4 hold what bitsandbytes holds, at the paper's size, and gradients flow through them exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tunewright.core import catalog
from tunewright.core.errors import CannotMerge
from tunewright.core.example import Example, Message
from tunewright.core.recipe import TrainOptions
from tunewright.models import lora_layers
from tunewright.models.forest import Forest
from tunewright.models.quantised import Nf4Linear, bits_a_weight, quantise
from tunewright.training.encoding import encode
from tunewright.training.step import Stepper

bnb: Any = pytest.importorskip("bitsandbytes")


def layer(inputs: int = 1024, outputs: int = 512, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize(("double", "bits"), [(True, 4.127), (False, 4.5)])
def test_a_weight_takes_the_paper_s_bits(double: bool, bits: float) -> None:
    held = Nf4Linear(layer(), double=double)
    taken = held.packed.nbytes + held.scales.nbytes + held.outer.nbytes
    assert taken * 8 / (1024 * 512) == pytest.approx(bits, abs=5e-4)
    assert bits_a_weight(double=double) == pytest.approx(bits, abs=5e-4)


def test_a_block_holds_sixteen_values_from_minus_one_to_one_times_its_scale() -> None:
    plain = layer()
    held = Nf4Linear(plain, double=False)
    blocks = held.weight.view(-1, 64)
    largest = plain.weight.detach().view(-1, 64).abs().amax(1, keepdim=True)
    values = torch.unique((blocks / largest).round(decimals=4))
    assert len(values) == 16 and values[0] == -1 and values[-1] == 1 and (values == 0).any()


def test_products_and_gradients_are_those_of_bitsandbytes() -> None:
    plain = layer(bias=True)
    theirs = bnb.nn.Linear4bit(1024, 512, bias=True, quant_type="nf4", compress_statistics=True)
    theirs.load_state_dict(plain.state_dict())
    theirs = theirs.to("cpu")
    ours = Nf4Linear(plain, double=True)
    x = torch.randn(7, 1024)
    inputs = [x.clone().requires_grad_(True) for _ in range(2)]
    for one, held in zip(inputs, (ours, theirs), strict=True):
        held(one).square().sum().backward()
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def test_the_head_and_embeddings_stay_and_an_adapter_learns_beside_the_rest(open_tiny: Any) -> None:
    model = open_tiny("llama")
    exact = model.token_logprobs(rows := Forest.build(probe(model))).detach()
    quantise(model.net, double=True)
    assert type(model.net.get_output_embeddings()) is nn.Linear
    assert isinstance(model.net.model.layers[0].mlp.up_proj, Nf4Linear)
    near = model.token_logprobs(rows).detach()
    assert 0 < float((near - exact).abs().mean()) < 1.0  # a random net of width 32 has much to lose
    method = catalog.build("methods", {"kind": "qlora", "rank": 4})
    method.attach(model.net)
    assert torch.equal(model.token_logprobs(rows), near)
    stepper = Stepper(model, method, catalog.build("objectives", "sft"), TrainOptions(lr=1e-2, micro_tokens=64))
    units = encode([example()], catalog.build("objectives", "sft"), model.chat, max_tokens=64).units
    losses = [stepper.take(units, factor=1.0, seed=n).loss for n in range(20)]
    assert losses[-1] < 0.6 * losses[0]
    with pytest.raises(CannotMerge, match="quantised"):
        method.merge(model.net)
    folded = open_tiny("llama")
    method.attach(folded.net)
    for (_, to), (_, source) in zip(lora_layers.layers(folded.net), lora_layers.layers(model.net), strict=True):
        for one, other in zip(to.matrices("default"), source.matrices("default"), strict=True):
            one.data.copy_(other)
    learned = model.token_logprobs(rows).detach()
    assert float((folded.token_logprobs(rows).detach() - learned).abs().mean()) < float((learned - near).abs().mean())


def example() -> Example:
    asked = Message(role="user", content="my card was stolen")
    return Example(id="e", messages=[asked, Message(role="assistant", content="fraud")])


def probe(model: Any) -> Any:
    return catalog.build("objectives", "sft").encode(example(), model.chat, max_tokens=64)
