"""PEFT as oracle for what goes beyond plain LoRA: DoRA, other starts, patterns, IA3 and its other tuners."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models import lora_layers
from tunewright.models.forest import Forest, Row

ITEMS = [(11 * n) % 290 for n in range(40)]
PROBE = Row(ITEMS, [0.0] + [1.0] * 39, "probe")
OURS: list[dict[str, Any]] = [
    {"kind": "lora", "rank": 4, "dora": True},
    {"kind": "lora", "rank": 4, "dora": True, "rslora": True, "start": "pissa"},
    {"kind": "lora", "rank": 4, "start": "pissa"},
    {"kind": "lora", "rank": 4, "start": "olora", "alpha": 3.0, "rslora": True},
    {"kind": "lora", "rank": 4, "ranks": {"q_proj|c_attn": 2, r".*\.0\.mlp\..*": 6}, "alphas": {"v_proj|c_proj": 1.0}},
    {"kind": "lora", "rank": 4, "start": "pissa", "ranks": {"q_proj|c_attn": 2}, "rslora": True, "plus": 4.0},
    {"kind": "ia3"},
    {"kind": "ia3", "outputs": ["q_proj", "c_attn"], "inputs": ["up_proj", "c_fc"]},
]
LLAMA_TUNERS: list[dict[str, Any]] = [
    {"tuner": "VERA", "options": {"r": 4, "target_modules": ["q_proj", "v_proj"]}},
    {"tuner": "LOHA", "options": {"r": 4, "target_modules": ["q_proj", "down_proj"]}},
    {"tuner": "OFT", "options": {"r": 0, "oft_block_size": 8, "target_modules": ["q_proj", "v_proj"]}},
    {"tuner": "LN_TUNING", "options": {"target_modules": ["input_layernorm", "norm"]}},
    {"tuner": "TRAINABLE_TOKENS", "options": {"token_indices": [11, 22], "target_modules": ["embed_tokens"]}},
]
THEIRS: list[tuple[str, dict[str, Any]]] = [
    ("LORA", {"r": 4, "lora_alpha": 16, "use_dora": True, "target_modules": ["q_proj", "down_proj"]}),
    ("IA3", {}),
    ("IA3", {"target_modules": ["q_proj", "up_proj"], "feedforward_modules": ["up_proj"]}),
    *((t["tuner"], t["options"]) for t in LLAMA_TUNERS),
]


def logits_of(net: Any) -> torch.Tensor:
    with torch.no_grad():
        return net(input_ids=torch.tensor([ITEMS]), use_cache=False).logits[0]


def our_logits(model: Any, adapter: str = "") -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.hidden(Forest.build([Row(PROBE.items, PROBE.weights, "probe", adapter)])))


def shaken(net: Any) -> None:
    """Move every weight that trains: what stands at its start would hide a lost key."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)


def same(found: torch.Tensor, before: torch.Tensor) -> bool:
    """The base's logits, by whichever way the layers are computed."""
    return float((found - before).abs().max()) <= 1e-6 * float(before.abs().max())


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=2e-4)


def told(options: Any) -> str:
    return json.dumps(options)[:60]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("options", OURS, ids=told)
def test_our_adapter_opened_by_peft(
    kind: str, options: dict[str, Any], open_tiny: Any, open_plain: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    model = open_tiny(kind)
    method = catalog.build("methods", options)
    before = our_logits(model)
    method.attach(model.net, seed=3)
    assert torch.allclose(our_logits(model), before, atol=1e-5)
    shaken(model.net)
    ours = our_logits(model)
    assert (ours - before).abs().max() > 0.01
    method.save(model.net, tmp_path)
    assert close(ours, logits_of(PeftModel.from_pretrained(open_plain(kind), tmp_path)))
    with method.off(model.net):
        assert same(our_logits(model), before)
    fresh = open_tiny(kind)
    fresh.load_adapter("ours", tmp_path)
    assert same(our_logits(fresh), before)
    assert close(our_logits(fresh, "ours"), ours)
    method.merge(model.net)
    assert close(our_logits(model), ours)


@pytest.mark.parametrize(("tuner", "options"), THEIRS, ids=told)
def test_peft_s_adapter_opened_here(
    tuner: str, options: dict[str, Any], open_tiny: Any, open_plain: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import get_peft_config, get_peft_model

    config = get_peft_config({"peft_type": tuner, "task_type": "CAUSAL_LM", **options})
    net = get_peft_model(open_plain("llama"), config).eval()
    shaken(net)
    theirs = logits_of(net)
    net.save_pretrained(tmp_path)
    model = open_tiny("llama")
    before = our_logits(model)
    model.load_adapter("theirs", tmp_path)
    assert same(our_logits(model), before)  # nobody asked for it yet
    assert (theirs - before).abs().max() > 0.01
    assert close(our_logits(model, "theirs"), theirs)
    model.drop_adapter("theirs")
    assert same(our_logits(model), before)
    assert not any("default" in name or "theirs" in name for name, _ in model.net.named_modules())


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_other_starts_are_peft_s(start: str, open_tiny: Any, open_plain: Callable[..., Any]) -> None:
    """The same A and B, so the same gradients and the same training."""
    from peft import LoraConfig, get_peft_model

    options: Any = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": start}
    theirs: Any = get_peft_model(open_plain("llama"), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    theirs(input_ids=torch.tensor([ITEMS]), labels=torch.tensor([ITEMS])).loss.backward()
    model = open_tiny("llama")
    options = {"kind": "lora", "rank": 4, "alpha": 6, "targets": ["q_proj", "down_proj"], "start": start}
    catalog.build("methods", options).attach(model.net)
    (model.loss_sum(Forest.build([PROBE])) / 39).backward()
    for path, layer in lora_layers.layers(model.net):
        layer_of_theirs = theirs.base_model.model.get_submodule(path)
        for side, held in (("lora_A", layer.A), ("lora_B", layer.B)):
            parameter = getattr(layer_of_theirs, side)["default"].weight
            assert torch.allclose(held["default"], parameter, atol=1e-5)
            assert torch.allclose(held["default"].grad, parameter.grad, rtol=1e-3, atol=1e-5)


def test_dora_learns_as_in_peft(open_tiny: Any, open_plain: Callable[..., Any], tmp_path: Path) -> None:
    """The lengths of the rows are constants to the gradient."""
    from peft import PeftModel

    model = open_tiny("llama")
    method = catalog.build("methods", {"kind": "lora", "rank": 4, "dora": True})
    method.attach(model.net)
    shaken(model.net)
    method.save(model.net, tmp_path)
    (model.loss_sum(Forest.build([PROBE])) / 39).backward()
    theirs: Any = PeftModel.from_pretrained(open_plain("llama"), tmp_path, is_trainable=True).eval()
    theirs(input_ids=torch.tensor([ITEMS]), labels=torch.tensor([ITEMS])).loss.backward()
    for path, layer in lora_layers.layers(model.net):
        held = theirs.base_model.model.get_submodule(path)
        pairs = [(layer.A, held.lora_A), (layer.B, held.lora_B), (layer.M, held.lora_magnitude_vector)]
        for ours, other in pairs:
            assert torch.allclose(ours["default"].grad, other["default"].weight.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", LLAMA_TUNERS, ids=told)
def test_tuners_of_peft_as_a_method(
    options: dict[str, Any], open_tiny: Any, open_plain: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    from tunewright.core.errors import CannotMerge
    from tunewright.models.own_weights import digests

    model = open_tiny("llama")
    before, frozen = our_logits(model), digests(model.net, {n for n, _ in model.net.named_parameters()})
    method = catalog.build("methods", {"kind": "peft", **options})
    method.attach(model.net, seed=3)
    assert torch.allclose(our_logits(model), before, atol=1e-5)
    shaken(model.net)
    ours = our_logits(model)
    assert (ours - before).abs().max() > 0.01
    assert digests(model.net, set(frozen)) == frozen
    with method.off(model.net):
        assert same(our_logits(model), before)
    method.save(model.net, tmp_path)
    assert close(ours, logits_of(PeftModel.from_pretrained(open_plain("llama"), tmp_path)))
    again = open_tiny("llama")
    method.attach(again.net, seed=4)
    method.load(again.net, tmp_path)
    assert torch.equal(our_logits(again), ours)
    try:
        method.merge(model.net)
    except CannotMerge:
        assert not method.mergeable
    else:
        assert method.mergeable and close(our_logits(model), ours)
