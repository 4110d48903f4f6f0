"""The written-out decoding step gives the logits of the library's own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.models import lora_files, lora_layers, written_step
from tunewright.models.cache import CacheStep
from tunewright.models.engine import Engine
from tunewright.models.one_row import OneRow
from tunewright.models.sequences import Request
from tunewright.models.written_step import WrittenStep

PROMPTS = [[(17 * n + k) % 290 for n in range(size)] for k, size in enumerate((5, 31, 12, 40, 20))]
KINDS = ["llama", "mistral", "qwen2", "qwen3"]


def steps_apart(
    model: Any, prompts: list[list[int]], adapters: list[str], *, steps: int = 4, stays: bool = False
) -> float:
    """The largest difference of a logit between the two ways, over some steps."""
    engine = Engine(model, plain=True)
    for prompt, adapter in zip(prompts, adapters, strict=True):
        engine.admit(Request(prompt, steps + 2, adapter=adapter))
    engine.step()
    written, apart = WrittenStep.of(model, stays=stays), 0.0
    assert written is not None
    for _ in range(steps):
        names = [sequence.request.adapter for sequence in engine.live]
        ids = [sequence.ids[-1] for sequence in engine.live]
        lengths = list(engine.cache.lengths)
        with torch.inference_mode():
            found = written.logits(ids, CacheStep(engine.cache, model.device), names)
            engine.cache.lengths = lengths  # the other way writes the same places once more
            expected = model.step(ids, CacheStep(engine.cache, model.device), names)
            engine.cache.lengths = lengths
        apart = max(apart, float(((found - expected).abs() / expected.abs().max()).max()))
        engine.step()
    return apart


def load_adapters(model: Any, open_tiny: Any, kind: str, folder: Path, ranks: dict[str, int], targets: Any) -> None:
    for seed, (name, rank) in enumerate(ranks.items()):
        made = open_tiny(kind)
        shape = lora_layers.LoraShape(rank, 8.0, targets=lora_layers.matching(made.net, targets[seed % len(targets)]))
        lora_layers.add_adapter(made.net, "x", shape, seed=seed)
        with torch.no_grad():
            for _, layer in lora_layers.layers(made.net):
                layer.B["x"].normal_(std=0.3, generator=torch.Generator().manual_seed(seed))
        lora_files.save_adapter(made.net, "x", folder / name, shape, base="tiny")
        model.load_adapter(name, folder / name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5])
def test_logits_are_the_library_s(kind: str, count: int, open_tiny: Any) -> None:
    assert steps_apart(open_tiny(kind), PROMPTS[:count], [""] * count) < 5e-6


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_alone_goes_its_own_way(kind: str, open_tiny: Any) -> None:
    """Behind a prompt longer than the window of those that have one."""
    model = open_tiny(kind)
    assert OneRow.serves(model, "")
    assert 0 < steps_apart(model, PROMPTS[3:4], [""]) < 5e-6
    model.net.base_model.layers[0].mlp.down_proj.weight.data = model.net.base_model.layers[
        0
    ].mlp.down_proj.weight.data.bfloat16()
    assert not OneRow.serves(model, "")


def test_one_sequence_follows_the_cache_as_others_come_and_go(open_tiny: Any) -> None:
    """Alone, then with another that makes the cache grow, then alone again in a slot that moved."""
    model, found = open_tiny("llama"), []
    for plain in (False, True):
        engine = Engine(model, plain=plain)
        first = engine.admit(Request(PROMPTS[0], 4))
        second = engine.admit(Request(PROMPTS[1], 90))
        for number in range(100):
            if number == 12:
                third = engine.admit(Request(PROMPTS[3], 8))
            engine.step()
        found.append([first.ids, second.ids, third.ids])
    assert found[0] == found[1] and [len(ids) for ids in found[0]] == [4, 90, 8]


@pytest.mark.parametrize("names", [["a"], ["b"], ["a", "a"], ["a", "b", "a", "", "c"], ["c", ""]])
def test_logits_with_adapters_are_the_library_s(names: list[str], open_tiny: Any, tmp_path: Path) -> None:
    model = open_tiny("qwen2")
    ranks = {"a": 4, "b": 2, "c": 8}
    load_adapters(model, open_tiny, "qwen2", tmp_path, ranks, ["all", ["q_proj", "down_proj"], ["v_proj"]])
    assert 0 < steps_apart(model, PROMPTS[: len(names)], names) < 5e-6  # the two ways are two


def test_the_active_adapter_speaks_where_none_is_named(open_tiny: Any, tmp_path: Path) -> None:
    model = open_tiny("llama")
    load_adapters(model, open_tiny, "llama", tmp_path, {"a": 4}, ["all"])
    model.route.active = "a"
    assert steps_apart(model, PROMPTS[:2], ["", ""]) < 5e-6


def test_an_adapter_that_changed_between_answers_is_seen(open_tiny: Any, tmp_path: Path) -> None:
    model = open_tiny("llama")
    load_adapters(model, open_tiny, "llama", tmp_path, {"a": 4}, ["all"])
    engine = Engine(model)
    options: dict[str, Any] = {"max_new_tokens": 8, "stop_ids": [], "adapters": ["a"]}
    [before] = engine.generate(PROMPTS[:1], **options)
    with torch.no_grad():
        for _, layer in lora_layers.layers(model.net):
            layer.matrices("a")[1].neg_()
    [after] = engine.generate(PROMPTS[:1], **options)
    [fresh] = Engine(model, plain=True).generate(PROMPTS[:1], **options)
    assert after.ids == fresh.ids != before.ids


def test_nets_that_are_not_known_use_the_library(open_tiny: Any) -> None:
    assert WrittenStep.of(open_tiny("gpt2")) is None
    assert Engine(open_tiny("llama")).written and not Engine(open_tiny("llama"), plain=True).written


def test_packed_weights_make_the_same_answers(open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"max_new_tokens": 12, "stop_ids": [], "logprobs": True}
    model = open_tiny("llama")
    assert not WrittenStep(model, stays=True)._packed  # too small to be worth it
    plain = Engine(model, plain=True).generate(PROMPTS, **options)
    monkeypatch.setattr(written_step, "LEAST_PACKED", 0)
    engine = Engine(model, keep=2**20)
    assert engine.written and len(engine.written._packed) == 3 * 4 + 1  # what reads the same as one, and the head
    for mine, theirs in zip(engine.generate(PROMPTS, **options), plain, strict=True):
        assert mine.ids == theirs.ids
        assert torch.allclose(torch.tensor(mine.logprobs), torch.tensor(theirs.logprobs), atol=1e-5)
    monkeypatch.setattr(written_step, "PACKED_BYTES", 4 * 32 * 32)
    assert len(WrittenStep(model, stays=True)._packed) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [["", ""], ["a", "a"], ["a", "b", "a", "", "c"]])
def test_layers_that_read_the_same_in_one_product(
    kind: str, names: list[str], open_tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written_step, "LEAST_PACKED", 0)
    model = open_tiny(kind)
    ranks = {"a": 4, "b": 2, "c": 8}
    load_adapters(model, open_tiny, kind, tmp_path, ranks, ["all", ["q_proj", "up_proj"], ["v_proj"]])
    assert 0 < steps_apart(model, PROMPTS[: len(names)], names, stays=True) < 5e-6
