"""LoRA layers: choice of layers, scales, dropout, several adapters in one pass, and adapters that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import DataError, NotThere
from tunewright.models import lora_layers
from tunewright.models.forest import Forest, Row

ITEMS = [(17 * n) % 290 for n in range(25)]


def rows(*adapters: str) -> list[Row]:
    return [Row(ITEMS, [0.0] + [1.0] * 24, str(n), adapter) for n, adapter in enumerate(adapters)]


def logprobs(model: Any, *adapters: str) -> torch.Tensor:
    with torch.no_grad():
        return model.logprobs(Forest.build(rows(*adapters)))


@pytest.fixture
def saved(open_tiny: Any, tmp_path: Path) -> list[Path]:
    """Two adapters of different ranks and layers, with random B."""
    folders = []
    for number, options in enumerate(({"rank": 4}, {"rank": 2, "targets": ["q_proj", "down_proj"], "rslora": True})):
        model = open_tiny("llama")
        method = catalog.build("methods", {"kind": "lora", **options})
        method.attach(model.net, seed=number)
        draw = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for _, layer in lora_layers.layers(model.net):
                layer.B["default"].copy_(torch.randn(layer.B["default"].shape, generator=draw) * 0.2)
        folders.append(tmp_path / str(number))
        method.save(model.net, folders[-1])
    return folders


def test_all_means_every_linear_layer_but_the_head(open_tiny: Any) -> None:
    names = lora_layers.matching(open_tiny("llama").net, "all")
    assert len(names) == 3 * 7 and not any("lm_head" in name for name in names)


def test_a_choice_that_matches_nothing_names_what_there_is(open_tiny: Any) -> None:
    with pytest.raises(DataError, match="q_proj"):
        lora_layers.matching(open_tiny("llama").net, ["query"])


def test_a_seed_decides_the_start(open_tiny: Any) -> None:
    made = []
    for seed in (1, 1, 2):
        model = open_tiny("llama")
        catalog.build("methods", "lora").attach(model.net, seed=seed)
        made.append(torch.cat([layer.A["default"].flatten() for _, layer in lora_layers.layers(model.net)]))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert made[0].abs().max() <= 1 / 32**0.5


def test_scales() -> None:
    assert lora_layers.LoraShape(16, 32.0).scale == 2.0
    assert lora_layers.LoraShape(16, 32.0, rslora=True).scale == 8.0


def test_dropout_draws_only_while_training(open_tiny: Any, saved: list[Path]) -> None:
    model = open_tiny("llama")
    method = catalog.build("methods", {"kind": "lora", "rank": 4, "dropout": 0.5})
    method.attach(model.net)
    method.load(model.net, saved[0])
    assert method.draws
    assert torch.equal(logprobs(model, ""), logprobs(model, ""))
    with model.training():
        assert not torch.equal(logprobs(model, ""), logprobs(model, ""))


def test_dora_drops_what_the_adapter_and_the_lengths_see(open_tiny: Any) -> None:
    """out = W x + (g - 1) W d + g scale B A d, with d = dropout(x) and g = m / |V| (as PEFT computes it)."""
    net = open_tiny("llama").net
    catalog.build("methods", {"kind": "lora", "rank": 4, "dora": True, "dropout": 0.5}).attach(net)
    layer = net.model.layers[0].mlp.up_proj
    torch.manual_seed(0)
    with torch.no_grad():
        for held in (layer.B, layer.M):
            held["default"].add_(torch.randn(held["default"].shape))
    x, (a, b) = torch.randn(7, 32), layer.matrices("default")
    summed = layer.base.weight + layer.scales["default"] * b @ a
    grown = layer.M["default"] / summed.norm(dim=1)
    layer.route.training = True
    torch.manual_seed(1)
    found = layer(x)
    torch.manual_seed(1)
    dropped = torch.nn.functional.dropout(x, 0.5)
    expected = (
        layer.base(x) + (grown - 1) * layer.base(dropped) + grown * layer.scales["default"] * (dropped @ a.t() @ b.t())
    )
    assert torch.allclose(found, expected, atol=1e-5)
    layer.route.training = False
    assert torch.allclose(layer(x), x @ (grown[:, None] * summed).t(), atol=1e-5)


def test_adapters_in_one_batch_answer_as_each_alone(open_tiny: Any, saved: list[Path]) -> None:
    model = open_tiny("llama")
    bare = logprobs(model, "")
    for name, folder in zip(("one", "two.b"), saved, strict=True):
        model.load_adapter(name, folder)
    alone = torch.cat([logprobs(model, name) for name in ("one", "", "two.b", "one")])
    assert torch.allclose(logprobs(model, "one", "", "two.b", "one"), alone, atol=1e-4)
    assert torch.equal(alone[1:2], bare)
    assert (alone - bare).abs()[[0, 2]].min() > 0.01


def test_dropping_an_adapter_brings_the_base_back(open_tiny: Any, saved: list[Path]) -> None:
    model = open_tiny("llama")
    before = logprobs(model, "")
    model.load_adapter("one", saved[0])
    with pytest.raises(DataError, match="loaded already"):
        model.load_adapter("one", saved[1])
    model.drop_adapter("one")
    assert not list(lora_layers.layers(model.net))
    assert torch.equal(logprobs(model, ""), before)


def test_an_adapter_of_another_model_is_refused(open_tiny: Any, saved: list[Path]) -> None:
    with pytest.raises(DataError, match="another model"):
        open_tiny("gpt2").load_adapter("one", saved[0])


def test_a_dropped_key_is_noticed(open_tiny: Any, saved: list[Path]) -> None:
    from safetensors.torch import load_file, save_file

    file = saved[0] / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, file)
    with pytest.raises(DataError, match="fit no layer"):
        open_tiny("llama").load_adapter("one", saved[0])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"peft_type": "POLY"}, "POLY"),
        ({"peft_type": None}, "names no peft_type"),
        ({"tunewright_type": "bottle"}, "bottle"),
        ({"use_dora": True}, "magnitude"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_what_cannot_be_read_is_refused(change: dict[str, Any], word: str, open_tiny: Any, saved: list[Path]) -> None:
    file = saved[0] / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(DataError, match=word):
        open_tiny("llama").load_adapter("one", saved[0])


def test_a_folder_without_an_adapter_is_refused(open_tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="adapter_config"):
        open_tiny("llama").load_adapter("one", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"peft_type": "LORA"}', b'{"peft_type": "LORA", "lora_alpha": "8"}'],
)
def test_a_broken_adapter_config_is_named(content: bytes, open_tiny: Any, saved: list[Path]) -> None:
    (saved[0] / "adapter_config.json").write_bytes(content)
    with pytest.raises(DataError, match=r"adapter_config\.json is broken: .* make it again"):
        open_tiny("llama").load_adapter("a", saved[0])


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_broken_adapter_file_is_named(keep: int, open_tiny: Any, saved: list[Path]) -> None:
    file = saved[0] / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"adapter_model\.safetensors is broken: .* make it again"):
        open_tiny("llama").load_adapter("a", saved[0])
