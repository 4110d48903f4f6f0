"""PEFT as oracle: adapters cross over both ways with the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models.forest import Forest, Row

ITEMS = [(11 * n) % 290 for n in range(40)]
PROBE = Row(ITEMS, [0.0] + [1.0] * 39, "probe")
METHODS: list[dict[str, Any]] = [
    {"rank": 4},
    {"rank": 8, "alpha": 3.0, "rslora": True, "targets": ["q_proj", "v_proj"]},
    {"rank": 2, "targets": r".*layers\.1\..*_proj"},
]
PEFT_OPTIONS: list[dict[str, Any]] = [
    {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "down_proj"]},
    {"r": 8, "lora_alpha": 4, "use_rslora": True, "target_modules": "all-linear"},
    {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.down_proj": 6},
        "alpha_pattern": {"v_proj": 32, "layers.0.mlp.up_proj": 1},
        "use_rslora": True,
    },
]


def logits_of(net: Any) -> torch.Tensor:
    with torch.no_grad():
        return net(input_ids=torch.tensor([ITEMS]), use_cache=False).logits[0]


def our_logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.hidden(Forest.build([PROBE])))


def shaken(net: Any) -> None:
    """Give every adapter weight a random value: B starts at zero, which would hide a lost key."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.requires_grad and ("lora" in name or ".B." in name or ".A." in name):
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("options", METHODS)
def test_our_adapter_opened_by_peft(
    kind: str, options: dict[str, Any], open_tiny: Any, open_plain: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    if kind == "gpt2":
        options = {**options, "targets": ["c_attn", "c_fc"] if options.get("targets") else "all"}
    model = open_tiny(kind)
    method = catalog.build("methods", {"kind": "lora", **options})
    before = our_logits(model)
    method.attach(model.net, seed=3)
    assert torch.equal(our_logits(model), before)
    shaken(model.net)
    ours = our_logits(model)
    assert (ours - before).abs().max() > 0.01
    method.save(model.net, tmp_path)
    theirs = logits_of(PeftModel.from_pretrained(open_plain(kind), tmp_path))
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    with method.off(model.net):
        assert torch.equal(our_logits(model), before)


@pytest.mark.parametrize("options", PEFT_OPTIONS)
def test_peft_s_adapter_opened_here(
    options: dict[str, Any], open_tiny: Any, open_plain: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    net = get_peft_model(open_plain("llama"), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    shaken(net)
    theirs = logits_of(net)
    net.save_pretrained(tmp_path)
    model = open_tiny("llama")
    before = our_logits(model)
    model.load_adapter("theirs", tmp_path)
    assert torch.equal(our_logits(model), before)  # nobody asked for it yet
    row = Row(PROBE.items, PROBE.weights, "probe", adapter="theirs")
    with torch.no_grad():
        ours = model.logits(model.hidden(Forest.build([row])))
    assert (theirs - before).abs().max() > 0.01
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    model.drop_adapter("theirs")
    assert torch.equal(our_logits(model), before)
