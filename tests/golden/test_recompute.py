"""Layers that compute again in the backward pass: the same loss and gradients bit for bit, and less is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models import estimate, lora_layers
from tunewright.models.forest import Forest, Row
from tunewright.models.hardware import Hardware
from tunewright.models.own_weights import decoder_layers
from tunewright.training import frozen
from tunewright.training.step import gradients

ARCHITECTURES = ["llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma2", "gpt_oss"]
METHODS: dict[str, Any] = {
    "full": "full",
    "lora": {"kind": "lora", "rank": 4},
    "dropout": {"kind": "lora", "rank": 4, "dropout": 0.3},
    "top": {"kind": "last_layers", "layers": 1},
}
MACHINE = Hardware(
    cores=1, memory_bytes=2**33, gpu_name=None, gpu_bytes=0, gflops={"float32": 1.0}, best_dtype="float32"
)


def prepared(open_tiny: Any, kind: str, method: Any) -> Any:
    """A model with the method attached, its adapters not at zero."""
    model = open_tiny(kind)
    catalog.build("methods", method).attach(model.net)
    moved(model)
    return model


def moved(model: Any) -> None:
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, layer in lora_layers.layers(model.net):
            for b in layer.B.values():
                b.copy_(torch.randn(b.shape, generator=draw) * 0.2)


def step(model: Any, rows: list[Row], objective: Any = "sft") -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of a step in two or three micro-batches, with its draws."""
    torch.manual_seed(5)
    part = catalog.build("objectives", objective)
    with model.training():
        loss = gradients(model, part, [[row] for row in rows], micro_tokens=300, share=True)[0]
    return loss, taken(model)


def taken(model: Any) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.net.named_parameters() if p.grad is not None}
    model.net.zero_grad(set_to_none=True)
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return bool(one) and one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("plain", [False, True], ids=["lean", "plain"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_loss_and_gradients_are_the_same_bit_for_bit(
    kind: str, method: str, plain: bool, open_tiny: Any, random_rows: Any
) -> None:
    model = prepared(open_tiny, kind, METHODS[method])
    model.plain = plain
    rows = random_rows("mixed", 1)[::6]
    truth, true_gradients = step(model, rows)
    for count in (1, len(decoder_layers(model.net)[1])):
        model.checkpoint_layers = count
        loss, found = step(model, rows)
        assert loss == truth and same(found, true_gradients), count


def test_noise_in_the_embeddings_is_drawn_once(open_tiny: Any, random_rows: Any) -> None:
    model, rows = prepared(open_tiny, "llama", METHODS["dropout"]), random_rows("prompt")
    noisy = {"kind": "sft", "noise": 5}
    truth, true_gradients = step(model, rows, noisy)
    model.checkpoint_layers = 3
    loss, found = step(model, rows, noisy)
    assert loss == truth and same(found, true_gradients)


def test_rows_go_through_their_own_adapters_again(open_tiny: Any, random_rows: Any) -> None:
    """By the time of the backward pass the net is routed elsewhere, and no longer draws."""
    model = open_tiny("llama")
    for name in ("one", "two"):
        shape = lora_layers.LoraShape(4, 8.0, dropout=0.2, targets=lora_layers.matching(model.net, "all"))
        lora_layers.add_adapter(model.net, name, shape, seed=len(name))
    moved(model)
    rows = [Row(row.items, row.weights, row.example, adapter=("one", "two")[n % 2])
            for n, row in enumerate(random_rows("chains"))]  # fmt: skip
    found = []
    for count in (0, 2):
        model.checkpoint_layers = count
        torch.manual_seed(1)
        with model.training():
            loss = model.loss_sum(Forest.build(rows))
        loss.backward()
        assert model.route == lora_layers.Route()
        found.append((loss.item(), taken(model)))
    assert found[0][0] == found[1][0] and same(found[0][1], found[1][1])


def test_above_layers_whose_results_are_stored(open_tiny: Any, random_rows: Any, tmp_path: Any) -> None:
    model = prepared(open_tiny, "llama", {"kind": "lora", "rank": 4, "layers": 2})
    rows = random_rows("prompt", 2)
    model.checkpoint_layers = 1
    model.stored = frozen.store(
        model, [[[row] for row in rows]], micro_tokens=200, folder=tmp_path, poll=lambda done: None
    )
    assert model.stored is not None and model.stored.below == 1
    again = step(model, rows)
    model.checkpoint_layers = 0
    assert again[0] == (truth := step(model, rows))[0] and same(again[1], truth[1])


def test_the_lowest_layers_are_taken_and_left_as_they_were(open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.models import recompute

    model = prepared(open_tiny, "llama", {"kind": "lora", "rank": 4, "layers": 2})
    layers = decoder_layers(model.net)[1]
    with recompute.recomputed(model.net, model.route, 1):
        assert ["forward" in layer.__dict__ for layer in layers] == [False, True, False]
    assert not any("forward" in layer.__dict__ for layer in layers)
    with torch.no_grad(), recompute.recomputed(model.net, model.route, 1):
        assert not any("forward" in layer.__dict__ for layer in layers)


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


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("plain", [False, True], ids=["lean", "plain"])
def test_a_layer_keeps_its_input_alone(plain: bool, method: str, open_tiny: Any) -> None:
    model = prepared(open_tiny, "llama", METHODS[method])
    model.plain = plain
    forest = Forest.build([Row([n % 300 for n in range(400)], [0.0] * 398 + [1.0] * 2, "a")])
    kept = []
    for count in range(4):
        model.checkpoint_layers = count
        kept.append(kept_bytes(model, forest))
    one_vector = 400 * 32 * 4
    assert kept[0] > kept[1] > kept[2] > kept[3]
    assert kept[0] - kept[1] > 5 * one_vector
    assert kept[3] <= 8 * one_vector  # the layers' three inputs, what comes after them, and rotary angles


@pytest.mark.parametrize("plain", [False, True], ids=["lean", "plain"])
def test_the_estimate_follows_what_is_kept(plain: bool, open_tiny: Any) -> None:
    """Between what is held at once and twice that, as without: a layer is whole while it is computed again."""
    model = prepared(open_tiny, "llama", METHODS["lora"])
    model.plain = plain
    forest = Forest.build([Row([n % 300 for n in range(400)], [0.0] * 398 + [1.0] * 2, "a")])
    kept = []
    for count in range(4):
        model.checkpoint_layers = count
        kept.append(kept_bytes(model, forest))
    for count in (1, 2):
        told = estimate.estimate(
            estimate.facts(model.base), catalog.build("methods", METHODS["lora"]), micro_tokens=400, dtype="float32",
            hardware=MACHINE, plain=plain, checkpoint_layers=count,
        )  # fmt: skip
        assert told.parts["activations"] == 400 * told.bytes_per_token[count]
        computed_again = kept[0] - kept[1] + 400 * 32 * 4
        assert 0.5 <= max(kept[count], kept[3] + computed_again) / told.parts["activations"] <= 1.0
