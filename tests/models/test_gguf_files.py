"""What is written as GGUF says in llama.cpp what the transformers library says: tokens, and what comes next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_tokenizer
from tunewright.core.errors import DataError

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

TEXT = "<|im_start|>user\nWhere's my  card?\n\n 12345 euros\u00e9<|im_end|>\n"
ROPE: dict[str, dict[str, Any]] = {
    "plain": {"rope_type": "default", "rope_theta": 10000.0},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}


def make_folder(folder: Path, kind: str, rope: dict[str, Any] = ROPE["plain"], *, tied: bool = False) -> None:
    """A random net whose choices are clear, with a byte-level tokenizer."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](
        vocab_size=len(tokenizer) + 4,  # rows that no token has
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=tied,
        rope_parameters=rope,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "rope", "tied"),
    [
        ("llama", "plain", False),
        ("llama", "linear", True),
        ("llama", "llama3", False),
        ("mistral", "plain", False),
        ("qwen2", "plain", True),
        ("qwen3", "plain", False),
    ],
)
def test_llama_cpp_says_what_transformers_says(tmp_path: Path, kind: str, rope: str, tied: bool) -> None:
    import httpx
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tunewright.models import gguf_files
    from tunewright.models.llama_process import LlamaProcess

    make_folder(tmp_path / "net", kind, ROPE[rope], tied=tied)
    gguf_files.write(tmp_path / "net", tmp_path / "net.gguf", kind="f32", name="tiny")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "net")
    ids = tokenizer(TEXT, add_special_tokens=False).input_ids * 3
    with torch.no_grad():
        net = AutoModelForCausalLM.from_pretrained(tmp_path / "net", dtype=torch.float32).eval()
        logp_NV = torch.log_softmax(net(torch.tensor([ids])).logits[0], -1)
    process = LlamaProcess(tmp_path / "net.gguf", context=512)
    try:
        asked = {"content": TEXT, "add_special": True, "parse_special": True}
        found = httpx.post(f"{process.url}/tokenize", json=asked, headers=process.headers).json()["tokens"]
        assert found * 3 == ids
        assert httpx.post(f"{process.url}/tokenize", json=asked).status_code == 401
        told = 0
        for place in range(9, len(ids), 10):
            token, logprob = process.likeliest(ids[: place + 1])
            assert token == int(logp_NV[place].argmax())
            if logprob is not None:
                told += 1
                # llama.cpp keeps keys and values in 16 bits
                assert logprob == pytest.approx(float(logp_NV[place, token]), abs=0.05)
        assert told
    finally:
        process.stop()
    assert not process.alive


def test_what_is_not_known_is_refused_in_a_sentence(tmp_path: Path) -> None:
    from tunewright.models import gguf_files

    make_folder(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_text())
    for change, words in (
        ({"model_type": "gpt2"}, "type 'gpt2'"),
        ({"mlp_bias": True}, "feed-forward"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "'yarn'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(DataError, match=words):
            gguf_files.check(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(DataError, match="parts text"):
        gguf_files.check(tmp_path)


def test_known_patterns_have_their_names() -> None:
    from tunewright.models import gguf_files

    def parted(pattern: str) -> dict[str, Any]:
        steps = [{"type": "Split", "pattern": {"Regex": pattern}}, {"type": "ByteLevel", "use_regex": False}]
        return {
            "model": {"type": "BPE", "merges": [["a", "b"]]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        }

    assert {gguf_files.pre_tokenizer(parted(pattern)) for pattern in gguf_files.PATTERNS} == {"llama-bpe", "qwen2"}
    with pytest.raises(DataError):
        gguf_files.pre_tokenizer(parted(r"\w+"))
