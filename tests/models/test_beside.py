"""What stands beside a base: several kinds at once, in one pass, one step, and taken away without a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import CannotMerge, DataError
from tunewright.models import adapters, beside, families
from tunewright.models.cache import CacheStep
from tunewright.models.engine import Engine
from tunewright.models.forest import Forest, Row
from tunewright.models.own_weights import digests
from tunewright.models.sequences import Request
from tunewright.models.written_step import WrittenStep

ITEMS = [(17 * n) % 290 for n in range(25)]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "lora", "rank": 4},
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "started": {"kind": "lora", "rank": 2, "start": "pissa", "targets": ["q_proj", "down_proj"]},
    "ia3": {"kind": "ia3"},
    "houlsby": {"kind": "bottleneck", "place": "houlsby", "size": 4},
    "pfeiffer": {"kind": "bottleneck", "place": "pfeiffer", "size": 4, "activation": "gelu"},
    "parallel": {"kind": "bottleneck", "place": "parallel", "size": 4, "scale": 4.0},
    "loha.x": {"kind": "peft", "tuner": "LOHA", "options": {"r": 2, "target_modules": ["q_proj", "down_proj"]}},
    "norms": {"kind": "peft", "tuner": "LN_TUNING", "options": {"target_modules": ["input_layernorm", "norm"]}},
}
OURS = [name for name, options in KINDS.items() if options["kind"] != "peft"]


def logprobs(model: Any, *adapters: str) -> torch.Tensor:
    rows = [Row(ITEMS, [0.0] + [1.0] * 24, str(n), adapter) for n, adapter in enumerate(adapters)]
    with torch.no_grad():
        return model.logprobs(Forest.build(rows))


@pytest.fixture(scope="module")
def saved(open_tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind, every weight moved from its start."""
    folders = {}
    for seed, (name, options) in enumerate(KINDS.items()):
        model, method = open_tiny("llama"), catalog.build("methods", options)
        method.attach(model.net, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.net.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
        folders[name] = tmp_path_factory.mktemp("saved") / name
        method.save(model.net, folders[name])
    return folders


@pytest.fixture
def loaded(open_tiny: Callable[..., Any], saved: dict[str, Path]) -> Any:
    """One base with an adapter of each kind beside it."""
    model = open_tiny("llama")
    for name, folder in saved.items():
        model.load_adapter(name, folder)
    return model


def test_kinds_in_one_batch_answer_as_each_alone(
    loaded: Any, open_tiny: Callable[..., Any], saved: dict[str, Path]
) -> None:
    bare = logprobs(open_tiny("llama"), "")
    alone = []
    for name in saved:
        model = open_tiny("llama")
        model.load_adapter(name, saved[name])
        alone.append(logprobs(model, name))
        assert (alone[-1] - bare).abs() > 0.01
    names = [*saved, "", *reversed(saved)]
    expected = torch.cat([*alone, bare, *reversed(alone)])
    assert torch.allclose(logprobs(loaded, *names), expected, atol=2e-4)
    for name, value in zip(saved, alone, strict=True):
        assert torch.allclose(logprobs(loaded, name), value, atol=2e-4)


def test_kinds_in_one_written_step_answer_as_the_library(loaded: Any) -> None:
    names = [*KINDS, ""]
    engine = Engine(loaded, plain=True)
    for number, name in enumerate(names):
        engine.admit(Request([(13 * n + number) % 290 for n in range(5 + number)], 5, adapter=name))
    engine.step()
    written = WrittenStep.of(loaded)
    assert written is not None
    for _ in range(2):
        names = [sequence.request.adapter for sequence in engine.live]
        ids = [sequence.ids[-1] for sequence in engine.live]
        lengths = list(engine.cache.lengths)
        with torch.inference_mode():
            found = written.logits(ids, CacheStep(engine.cache, loaded.device), names)
            engine.cache.lengths = lengths  # the other way writes the same places once more
            expected = loaded.step(ids, CacheStep(engine.cache, loaded.device), names)
            engine.cache.lengths = lengths
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
        engine.step()


def test_a_base_keeps_its_names_and_digests(loaded: Any, open_tiny: Callable[..., Any]) -> None:
    base = open_tiny("llama").net
    names = {name for name, _ in base.named_parameters()}
    assert digests(loaded.net, names) == digests(base, names)
    assert {place.name for place in beside.places(loaded.net)} == {name for name, _ in base.named_modules() if name}


def test_taken_away_in_any_order_leaves_the_base(loaded: Any, open_tiny: Callable[..., Any]) -> None:
    base = open_tiny("llama")
    assert not families.all_known(loaded.net) and families.all_known(base.net)
    order = sorted(KINDS)
    for position, name in enumerate(order):
        loaded.drop_adapter(name)
        if position + 1 < len(order):
            assert (logprobs(loaded, order[-1]) - logprobs(loaded, "")).abs() > 0.01
    assert [name for name, _ in loaded.net.named_modules()] == [name for name, _ in base.net.named_modules()]
    assert torch.equal(logprobs(loaded, ""), logprobs(base, ""))


def test_dora_sees_weights_that_changed(open_tiny: Callable[..., Any], saved: dict[str, Path]) -> None:
    """The lengths are kept until weights change; a step of the optimizer is such a change."""
    from tunewright.models import lora_layers

    model, method = open_tiny("llama"), catalog.build("methods", KINDS["dora"])
    method.attach(model.net)
    method.load(model.net, saved["dora"])
    before = logprobs(model, "")
    trained = [p for p in model.net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, fused=True)
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = logprobs(model, "")
    for _, layer in lora_layers.layers(model.net):
        layer._lengths.clear()
    assert torch.equal(logprobs(model, ""), kept) and not torch.allclose(kept, before, atol=1e-3)


@pytest.mark.parametrize("name", OURS)
def test_an_adapter_of_another_model_leaves_nothing(
    name: str, open_tiny: Callable[..., Any], saved: dict[str, Path]
) -> None:
    model = open_tiny("gpt2")
    before = [path for path, _ in model.net.named_modules()]
    with pytest.raises(DataError):
        model.load_adapter("x", saved[name])
    assert [path for path, _ in model.net.named_modules()] == before and "x" not in model.adapters


@pytest.mark.parametrize("name", KINDS)
def test_a_saved_adapter_becomes_a_base(name: str, open_tiny: Callable[..., Any], saved: dict[str, Path]) -> None:
    model, merged = open_tiny("llama"), open_tiny("llama")
    model.load_adapter(name, saved[name])
    if KINDS[name]["kind"] == "bottleneck":
        with pytest.raises(CannotMerge, match=r"model\.from"):
            adapters.merge_into(merged.net, saved[name])
        return
    adapters.merge_into(merged.net, saved[name])
    assert torch.allclose(logprobs(merged, ""), logprobs(model, name), atol=2e-4)
    assert [path for path, _ in merged.net.named_modules()] == [
        path for path, _ in open_tiny("llama").net.named_modules()
    ]


def test_a_bottleneck_cannot_be_merged(open_tiny: Callable[..., Any]) -> None:
    model, method = open_tiny("llama"), catalog.build("methods", "bottleneck")
    method.attach(model.net)
    assert not method.mergeable
    with pytest.raises(CannotMerge, match=r"deploy\.formats"):
        method.merge(model.net)


@pytest.mark.parametrize("change", [{"size": "four"}, {"place": "nowhere"}, {"activation": None}])
def test_a_broken_bottleneck_is_named(
    change: dict[str, Any], open_tiny: Callable[..., Any], saved: dict[str, Path], tmp_path: Path
) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(saved["pfeiffer"], tmp_path / "copy"))
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(DataError, match=r"adapter_config\.json is broken"):
        open_tiny("llama").load_adapter("x", folder)
