"""What every contender is given: the same random model, the same rows, and how the work is counted."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RANK = 16
BATCH = 16  # rows in an optimizer step


@dataclass(frozen=True)
class Shape:
    """A random-initialised Llama."""

    hidden: int
    layers: int
    ffn: int
    vocabulary: int

    @property
    def backbone(self) -> int:
        """Weights of the layers' matrices."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)

    @property
    def adapter(self) -> int:
        """Weights of LoRA on every linear layer."""
        return self.layers * RANK * (4 * 2 * self.hidden + 3 * (self.hidden + self.ffn))

    @property
    def head(self) -> int:
        """Weights of the vocabulary head."""
        return self.hidden * self.vocabulary


SHAPES = {
    "42m": Shape(512, 8, 1536, 32000),
    "12m": Shape(384, 6, 1024, 8192),
    "tiny": Shape(64, 2, 128, 512),
}


@dataclass(frozen=True)
class Work:
    """One row to train on: token ids, of which the first `prompt` are context."""

    items: list[int]
    prompt: int

    @property
    def learned(self) -> int:
        """Learned tokens."""
        return len(self.items) - self.prompt


def instruction_rows(num: int, vocabulary: int) -> list[Work]:
    """Prompts and answers of log-normal length: median 140 tokens a row, 24 to 512, 20 to 60 % of it answer."""
    draw = np.random.default_rng(11)
    rows = []
    for _ in range(num):
        size = int(np.clip(draw.lognormal(math.log(140), 0.6), 24, 512))
        prompt = int(size * draw.uniform(0.4, 0.8))
        rows.append(Work(draw.integers(3, vocabulary, size).tolist(), prompt))
    return rows


def shared_prompt_rows(num: int, vocabulary: int) -> list[Work]:
    """One system prompt of 256 tokens before every row; endings of 30 to 60 tokens, half of it answer."""
    draw = np.random.default_rng(12)
    system = draw.integers(3, vocabulary, 256).tolist()
    rows = []
    for _ in range(num):
        ending = draw.integers(3, vocabulary, int(draw.integers(30, 61))).tolist()
        rows.append(Work([*system, *ending], 256 + len(ending) // 2))
    return rows


def label_endings(vocabulary: int) -> list[list[int]]:
    """77 labels of 2 to 7 tokens with a common end of turn."""
    draw = np.random.default_rng(13)
    return [[*draw.integers(3, vocabulary, int(draw.integers(1, 7))).tolist(), 2] for _ in range(77)]


def messages(num: int, vocabulary: int) -> list[list[int]]:
    """Messages of 60 tokens to be labelled."""
    return np.random.default_rng(14).integers(3, vocabulary, (num, 60)).tolist()


ROWS = {"instructions": instruction_rows, "shared": shared_prompt_rows}


def make_base(folder: Path, shape: Shape) -> None:
    """Write the random model and a byte tokenizer, as `from_pretrained` reads them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    plain = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)


def needed_flops(shape: Shape, method: str, tokens: int, learned: int) -> float:
    """Floating-point operations in matrix products that the gradient of these rows cannot do without.

    A frozen matrix: one product forward and one backward, two operations a weight and token. A trained one: one more
    for its own gradient. The head counts at learned tokens only; attention and everything element-wise is left out.
    """
    if method == "lora":
        return tokens * (4.0 * shape.backbone + 6.0 * shape.adapter) + learned * 4.0 * shape.head
    return tokens * 6.0 * shape.backbone + learned * 6.0 * shape.head


def ceiling(shape: Shape, *, tokens: int = 2048, seconds: float = 3.0) -> float:
    """Operations a second of the layers' own matrix products in float32, run back to back."""
    import torch

    sizes = [(shape.hidden, shape.hidden)] * 4 + [(shape.hidden, shape.ffn)] * 2 + [(shape.ffn, shape.hidden)]
    inputs = {size: torch.randn(tokens, size) for size in {a for a, _ in sizes}}
    weights = [torch.randn(a, b) for a, b in sizes]
    flops = sum(2.0 * tokens * a * b for a, b in sizes)
    best = 0.0
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        for weight in weights:
            torch.mm(inputs[weight.shape[0]], weight)
        best = max(best, flops / (time.perf_counter() - started))
    return best
