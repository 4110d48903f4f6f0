"""How many weights train: the published numbers, on skeletons without memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tunewright.core import catalog
from tunewright.core.recipe import ModelOptions
from tunewright.models import new_rows
from tunewright.models.opening import open_model

QV: dict[str, Any] = {"targets": ["q_proj", "v_proj"]}


def trained(net: nn.Module, options: dict[str, Any]) -> int:
    catalog.build("methods", options).attach(net)
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


class Attentions(nn.Module):
    """Stacks of square projections, for architectures that are given by their shapes alone."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(size, size, device="meta") for name in ("q_proj", "k_proj", "v_proj")})
            for _ in range(count)
        )

    def get_output_embeddings(self) -> None:
        return None


@pytest.mark.parametrize(
    ("count", "size", "rank", "expected"),
    [
        pytest.param(12, 768, 8, 294_912, id="roberta-base"),
        pytest.param(24, 1024, 8, 786_432, id="roberta-large"),
        pytest.param(48, 1536, 16, 4_718_592, id="deberta-xxl"),
        pytest.param(96, 12288, 1, 4_718_592, id="gpt-3-r1"),
        pytest.param(96, 12288, 8, 37_748_736, id="gpt-3-r8"),
        pytest.param(24 + 2 * 24, 1024, 8, 2_359_296, id="mt0-large"),  # a decoder layer has two attentions
        pytest.param(6, 384, 8, 73_728, id="minilm-l6"),
    ],
)
def test_lora_on_queries_and_values(count: int, size: int, rank: int, expected: int) -> None:
    assert trained(Attentions(count, size), {"kind": "lora", "rank": rank, **QV}) == expected


def skeleton(kind: str, hidden: int, layers: int, heads: int, kv: int, ffn: int) -> Any:
    import transformers as tf

    make = {"llama": tf.LlamaConfig, "qwen2": tf.Qwen2Config}[kind]
    config = make(
        vocab_size=64,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        intermediate_size=ffn,
    )
    with torch.device("meta"):
        return tf.AutoModelForCausalLM.from_config(config)


LLAMA_7B = ("llama", 4096, 32, 32, 32, 11008)
LLAMA_3_8B = ("llama", 4096, 32, 32, 8, 14336)
QWEN_3B = ("qwen2", 2048, 36, 16, 2, 11008)
QWEN_HALF_B = ("qwen2", 896, 24, 14, 2, 4864)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        pytest.param(LLAMA_7B, {"kind": "lora", "rank": 8, **QV}, 4_194_304, id="llama-7b-r8-qv"),
        pytest.param(LLAMA_7B, {"kind": "lora", "rank": 16}, 39_976_960, id="llama-7b-r16-all"),
        pytest.param(LLAMA_3_8B, {"kind": "lora", "rank": 16}, 41_943_040, id="llama-3-8b-r16-all"),
        pytest.param(QWEN_HALF_B, {"kind": "lora", "rank": 8}, 4_399_104, id="qwen2.5-0.5b-r8-all"),
        pytest.param(QWEN_3B, {"kind": "lora", "rank": 16, **QV}, 3_686_400, id="qwen2.5-3b-r16-qv"),
        # a start of its own trains as many; the lengths of DoRA are one a row
        pytest.param(LLAMA_7B, {"kind": "lora", "rank": 8, "start": "pissa", **QV}, 4_194_304, id="pissa"),
        pytest.param(LLAMA_7B, {"kind": "lora", "rank": 8, "dora": True, **QV}, 4_194_304 + 64 * 4096, id="dora"),
        pytest.param(LLAMA_7B, {"kind": "lora", "rank": 8, "ranks": {"v_proj": 4}, **QV}, 3_145_728, id="ranks"),
        # keys, values and inner features of each layer
        pytest.param(LLAMA_7B, {"kind": "ia3"}, 32 * (4096 + 4096 + 11008), id="llama-7b-ia3"),
        pytest.param(LLAMA_3_8B, {"kind": "ia3"}, 32 * (1024 + 1024 + 14336), id="llama-3-8b-ia3"),
        # 2 m d + d + m for each module (Houlsby et al. 2019, section 2.1)
        pytest.param(
            LLAMA_7B,
            {"kind": "bottleneck", "place": "houlsby", "size": 64},
            64 * (2 * 64 * 4096 + 4096 + 64),
            id="houlsby",
        ),
        pytest.param(LLAMA_7B, {"kind": "bottleneck"}, 32 * (2 * 256 * 4096 + 4096 + 256), id="pfeiffer"),
        pytest.param(
            LLAMA_7B, {"kind": "bottleneck", "place": "parallel", "size": 8}, 32 * (16 * 4096 + 4096 + 8), id="parallel"
        ),
        # biases of queries, keys and values
        pytest.param(QWEN_3B, {"kind": "bitfit"}, 36 * (2048 + 2 * 256), id="qwen2.5-3b-bitfit"),
        pytest.param(QWEN_3B, {"kind": "bitfit", "norms": True}, 36 * (2048 + 512 + 2 * 2048) + 2048, id="norms"),
        pytest.param(LLAMA_7B, {"kind": "bitfit", "norms": True}, 65 * 4096, id="llama-7b-norms"),
    ],
)
def test_trained_weights(shape: tuple[Any, ...], options: dict[str, Any], expected: int) -> None:
    assert trained(skeleton(*shape), options) == expected


@pytest.mark.parametrize(
    ("options", "numbers", "size"),
    [
        ("lora", 374_272, 1_506_224),
        ("bottleneck", 42_832, 171_352 + 2_240),
        ("last_layers", 1_476_352, 5_905_392 + 2_240),
    ],
)
def test_two_new_tokens_on_the_bundled_base(options: str, numbers: int, size: int, tmp_path: Path) -> None:
    """docs/methods.md tells these: 512 numbers more than without, since the head is the embedding."""
    model = open_model(ModelOptions(base="nano", new_tokens=("<order>", "</order>")))
    method = catalog.build("methods", options)
    method.attach(model.net)
    new_rows.attach(model.net)
    assert sum(p.numel() for p in model.net.parameters() if p.requires_grad) == numbers
    method.save(model.net, tmp_path)
    new_rows.save(model.net, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.glob("*.safetensors")) == size
