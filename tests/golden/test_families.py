"""Known layers give the losses and gradients of the transformers library's own, and keep less."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.recipe import ModelOptions
from tunewright.models import estimate, families, lean, lora_layers
from tunewright.models.forest import Forest, Row
from tunewright.models.hardware import Hardware
from tunewright.models.own_weights import decoder_layers

MACHINE = Hardware(
    cores=1, memory_bytes=2**33, gpu_name=None, gpu_bytes=0, gflops={"float32": 1.0}, best_dtype="float32"
)
KNOWN = ["llama", "mistral", "qwen2", "qwen3"]
METHODS: list[Any] = [
    "full",
    {"kind": "lora", "rank": 4},
    {"kind": "lora", "rank": 2, "targets": ["k_proj", "up_proj"]},
    {"kind": "last_layers", "layers": 1},
]


def prepared(open_tiny: Any, kind: str, method: Any, *, double: bool = False) -> Any:
    """A model with the method attached, its adapters not at zero."""
    model = open_tiny(kind)
    catalog.build("methods", method).attach(model.net)
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, layer in lora_layers.layers(model.net):
            for b in layer.B.values():
                b.copy_(torch.randn(b.shape, generator=draw) * 0.2)
    if double:
        model.net.double()
    return model


def both_ways(model: Any, forest: Forest, gradients_of: Any) -> list[Any]:
    """Loss and gradients: swapped, plain."""
    found = []
    for plain in (False, True):
        model.plain = plain
        loss = model.loss_sum(forest)
        loss.backward()
        found.append((loss.item(), gradients_of(model.net)))
    return found


@pytest.mark.parametrize("method", METHODS, ids=["full", "lora", "some", "top"])
@pytest.mark.parametrize("kind", KNOWN)
def test_loss_and_gradients_are_the_library_s(
    kind: str, method: Any, open_tiny: Any, random_rows: Any, gradients_of: Any, gap: Any
) -> None:
    model = prepared(open_tiny, kind, method)
    forest = Forest.build(random_rows("mixed", 1)[::3])
    (loss, gradients), (plain_loss, plain_gradients) = both_ways(model, forest, gradients_of)
    assert loss == pytest.approx(plain_loss, rel=1e-6)
    assert gap(gradients, plain_gradients) <= 1e-5


@pytest.mark.parametrize("method", METHODS, ids=["full", "lora", "some", "top"])
def test_norms_in_one_kernel_are_the_library_s(
    method: Any, open_tiny: Any, random_rows: Any, gradients_of: Any, gap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU."""
    monkeypatch.setattr(lean, "_in_one_kernel", lambda x: True)
    model = prepared(open_tiny, "qwen3", method)
    forest = Forest.build(random_rows("mixed", 1)[::3])
    (loss, gradients), (plain_loss, plain_gradients) = both_ways(model, forest, gradients_of)
    assert loss == pytest.approx(plain_loss, rel=1e-6)
    assert gap(gradients, plain_gradients) <= 1e-5


def test_every_gradient_of_adapters_is_exact(open_tiny: Any, random_rows: Any, gradients_of: Any) -> None:
    """In float64, where only the library's own RMSNorm rounds (to float32, in both)."""
    model = prepared(open_tiny, "llama", {"kind": "lora", "rank": 4})
    forest = Forest.build(random_rows("prompt", 1))
    (_, gradients), (_, plain) = both_ways(model, forest, gradients_of)
    for name, gradient in gradients.items():
        assert float((gradient - plain[name]).norm()) <= 1e-5 * float(plain[name].norm().clamp_min(1e-3)), name


def test_an_adapter_in_a_finer_format_than_its_base(
    open_tiny: Any, random_rows: Any, gradients_of: Any, gap: Any
) -> None:
    """Rounded for each product, it is about as near to float32 as with products in float32 beside a rounded base."""
    model = prepared(open_tiny, "qwen3", {"kind": "lora", "rank": 4})
    forest = Forest.build(random_rows("prompt"))
    for parameter in model.net.parameters():
        parameter.data = parameter.data.bfloat16().float()
    (truth, _), (_, true_gradients) = both_ways(model, forest, gradients_of)
    adapters = {name: p.data for name, p in model.net.named_parameters() if p.requires_grad}
    model.net.bfloat16()
    for name, parameter in model.net.named_parameters():
        parameter.data = adapters.get(name, parameter.data)
    (loss, gradients), (_, plain_gradients) = both_ways(model, forest, gradients_of)
    assert loss == pytest.approx(truth, rel=1e-2)
    assert gap(gradients, true_gradients) <= 1.5 * gap(plain_gradients, true_gradients)


def test_a_small_step_of_an_adapter_is_seen_in_half_precision() -> None:
    """A thousandth of a weight, which rounded once it would mostly not have moved by."""
    weight = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    halves = lean._halves(weight * 1.001, torch.bfloat16)
    moved = torch.stack([half.float() for half in halves]).sum(0) / weight - 1
    assert bool(((moved - 0.001).abs() < 1e-4).all())
    assert len(lean._halves(weight, torch.float32)) == 1


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "gpt_oss"])
def test_other_architectures_run_as_they_come(kind: str, open_tiny: Any) -> None:
    model = open_tiny(kind)
    with families.swapped(model.net, wanted=torch.tensor([0])) as chosen:
        assert not chosen and not any("forward" in layer.__dict__ for layer in decoder_layers(model.net)[1])


def test_the_net_is_left_as_it_was(open_tiny: Any, random_rows: Any) -> None:
    model = open_tiny("llama")
    layers = decoder_layers(model.net)[1]
    with families.swapped(model.net) as chosen:
        assert not chosen and all("forward" in layer.__dict__ for layer in layers)
    assert not any("forward" in layer.__dict__ for layer in layers)


def test_a_layer_that_something_else_stands_in_for_is_left_alone(open_tiny: Any) -> None:
    net = open_tiny("llama").net
    layer = decoder_layers(net)[1][0]
    layer.forward = stand_in = lambda hidden_states, **_: hidden_states
    with families.swapped(net):
        assert layer.forward is stand_in
    assert layer.forward is stand_in


def test_what_a_known_layer_cannot_do_is_left_to_the_library(open_tiny: Any) -> None:
    model = prepared(open_tiny, "llama", {"kind": "lora", "rank": 4, "dropout": 0.5})
    with families.swapped(model.net, wanted=torch.tensor([0])) as chosen:
        assert chosen
    with model.training(), families.swapped(model.net, wanted=torch.tensor([0])) as chosen:
        assert not chosen
    model.route.segments = [("default", 3), ("", 4)]
    with families.swapped(model.net, wanted=torch.tensor([0])) as chosen:
        assert not chosen


def kept_bytes(model: Any, forest: Forest) -> int:
    """Bytes that the backward pass of a loss needs, weights apart."""
    weights = {p.untyped_storage().data_ptr() for p in model.net.parameters()}
    held: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.loss_sum(forest)
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def test_less_is_kept(open_tiny: Any) -> None:
    model = prepared(open_tiny, "llama", {"kind": "lora", "rank": 4})
    forest = Forest.build([Row([n % 300 for n in range(200)], [0.0] * 150 + [1.0] * 50, "a")])
    swapped = kept_bytes(model, forest)
    model.plain = True
    assert swapped < 0.75 * kept_bytes(model, forest)


@pytest.mark.parametrize("plain", [False, True])
def test_the_estimate_follows_what_is_kept(plain: bool, open_tiny: Any) -> None:
    """Between what is kept and twice that: the backward pass needs room to work in."""
    method = {"kind": "lora", "rank": 2}
    model = prepared(open_tiny, "qwen3", method)
    model.plain = plain
    forest = Forest.build([Row([n % 300 for n in range(400)], [0.0] * 398 + [1.0] * 2, "a")])
    told = estimate.estimate(
        estimate.facts(model.base), catalog.build("methods", method), micro_tokens=400, dtype="float32",
        hardware=MACHINE, plain=plain,
    )  # fmt: skip
    assert 0.5 <= kept_bytes(model, forest) / told.parts["activations"] <= 1.0


def test_a_recipe_can_turn_it_off(tiny: Any) -> None:
    from tunewright.models.opening import open_model

    assert open_model(ModelOptions(base=str(tiny("llama")), plain=True)).plain
    assert not open_model(ModelOptions(base=str(tiny("llama")))).plain
