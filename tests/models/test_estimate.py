"""Estimates agree with counting by hand and with the real model."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from tunewright.core import catalog
from tunewright.core.errors import NotThere
from tunewright.models import estimate
from tunewright.models.hardware import Hardware

MACHINE = Hardware(
    cores=2, memory_bytes=8 * 2**30, gpu_name=None, gpu_bytes=0, gflops={"float32": 100.0}, best_dtype="float32"
)
SMALL = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=100,
    max_position_embeddings=128,
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True)).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    return folder


def test_facts_come_from_the_config_and_count_shared_weights_once(llama: Path) -> None:
    found = estimate.facts(str(llama))
    real = LlamaForCausalLM.from_pretrained(llama)
    assert found.parameters == sum(p.numel() for p in real.parameters())
    assert (found.layers, found.hidden, found.feed_forward, found.vocabulary, found.context) == (3, 32, 48, 100, 128)
    assert found.licence == "apache-2.0"
    assert found.disk_bytes == (llama / "model.safetensors").stat().st_size


def test_facts_of_gpt2_whose_config_uses_other_names(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=64)).save_pretrained(tmp_path)
    found = estimate.facts(str(tmp_path))
    assert (found.layers, found.hidden, found.feed_forward, found.context) == (2, 16, 64, 64)
    assert estimate.work(found, catalog.build("methods", "lora")).trainable > 0


@pytest.mark.parametrize("base", ["no-such-model", "/no/such/folder"])
def test_a_missing_base_is_named(base: str) -> None:
    with pytest.raises(NotThere, match=base):
        estimate.facts(base)


@pytest.mark.parametrize("method", ["full", "last_layers", {"kind": "lora", "rank": 4}])
def test_trainable_parameters_are_those_of_the_real_model(llama: Path, method: str | dict[str, object]) -> None:
    part = catalog.build("methods", method)
    net = part.attach(LlamaForCausalLM.from_pretrained(llama))
    real = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert estimate.work(estimate.facts(str(llama)), part).trainable == real


def test_work_splits_products_as_counted_by_hand(llama: Path) -> None:
    layer = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48
    facts = estimate.facts(str(llama))
    full = estimate.work(facts, catalog.build("methods", "full"))
    assert (full.products, full.passed, full.learned, full.head) == (3 * layer, 3 * layer, 3 * layer, 3200)
    top = estimate.work(facts, catalog.build("methods", {"kind": "last_layers", "layers": 1}))
    assert (top.products, top.passed, top.learned) == (3 * layer, layer, layer)
    assert full.head_learns and not top.head_learns


def test_only_the_chosen_experts_count_as_work(tmp_path: Path) -> None:
    config = MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=1)
    MixtralForCausalLM(config).save_pretrained(tmp_path)
    counted = estimate.work(estimate.facts(str(tmp_path)), catalog.build("methods", "full"))
    attention_and_router = 3 * (32 * 32 * 2 + 32 * 16 * 2 + 32 * 4)
    assert counted.products == attention_and_router + 3 * (3 * 32 * 48)


def test_memory_grows_with_micro_tokens_and_time_with_what_learns(llama: Path) -> None:
    facts = estimate.facts(str(llama))

    def cost(method: str, micro_tokens: int = 64) -> estimate.Estimate:
        part = catalog.build("methods", method)
        return estimate.estimate(facts, part, micro_tokens=micro_tokens, dtype="float32", hardware=MACHINE)

    more, less = cost("full", 640), cost("full", 64)
    assert more.parts["activations"] == 10 * less.parts["activations"]
    assert more.memory_bytes == sum(more.parts.values())
    assert less.parts["weights"] == 4 * facts.parameters == less.parts["gradients"]
    assert less.parts["optimizer"] == 8 * facts.parameters
    assert cost("last_layers").seconds_per_1000_tokens < cost("full").seconds_per_1000_tokens
    assert cost("last_layers").bytes_per_token[0] < cost("full").bytes_per_token[0]
    # 6 operations a weight and token for the layers and the head, at 40 % of 100 GFLOP/s
    products = 3 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48) + 3200
    assert cost("full").seconds_per_1000_tokens == pytest.approx(6 * products * 1000 / (estimate.EFFICIENCY * 100e9))


def test_layers_computed_again_keep_one_vector_and_cost_a_forward_pass(llama: Path) -> None:
    facts = estimate.facts(str(llama))

    def cost(method: str, again: int, row_tokens: float = 0.0) -> estimate.Estimate:
        return estimate.estimate(
            facts, catalog.build("methods", method), micro_tokens=10, dtype="float32", hardware=MACHINE,
            row_tokens=row_tokens, checkpoint_layers=again,
        )  # fmt: skip

    layer = 4 * (7 * 32 + 2 * 48)  # bytes a token that a known layer keeps
    none, one, all_three = (cost("full", again) for again in (0, 1, 3))
    assert none.bytes_per_token == (3 * layer + 512, 2 * layer + 640, layer + 768, layer + 896)
    assert one.parts["activations"] == 10 * none.bytes_per_token[1]
    products = 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48
    second = 1000 / (estimate.EFFICIENCY * 100e9)
    once_more = one.seconds_per_1000_tokens - none.seconds_per_1000_tokens
    assert once_more == pytest.approx(2 * products * second)
    assert all_three.seconds_per_1000_tokens - none.seconds_per_1000_tokens == pytest.approx(3 * once_more)
    with_attention = cost("full", 1, 50).seconds_per_1000_tokens - cost("full", 0, 50).seconds_per_1000_tokens
    assert with_attention - once_more == pytest.approx(2 * 50 * 32 * second)
    assert len(cost("last_layers", 0).bytes_per_token) == 3  # gradients reach two layers


def test_half_precision_halves_what_is_frozen(llama: Path) -> None:
    facts, lora = estimate.facts(str(llama)), catalog.build("methods", {"kind": "lora", "rank": 2})
    whole = estimate.work(facts, lora, dtype="float32")
    half = estimate.work(facts, lora, dtype="bfloat16")
    assert whole.weight_bytes - half.weight_bytes == 2 * facts.parameters
    assert whole.trainable_bytes == half.trainable_bytes == 4 * whole.trainable


def test_a_skeleton_of_many_parameters_takes_no_memory(tmp_path: Path) -> None:
    config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_key_value_heads=8)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert 7e9 < estimate.facts(str(tmp_path)).parameters < 8e9
