"""What every contender is given: the same random model, the same rows, and how the work is counted."""

from __future__ import annotations

import math
import random
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RANK = 16
BATCH = 16  # rows in an optimizer step
ADAPTERS = 4  # answering at once over one base


@dataclass(frozen=True)
class Shape:
    """A random-initialised Llama."""

    hidden: int
    layers: int
    ffn: int
    vocabulary: int
    heads: int = 8
    kv_heads: int = 8
    tied: bool = False

    @property
    def kv(self) -> int:
        """Width of the keys of a layer, and of its values."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's matrices."""
        h, f = self.hidden, self.ffn
        return [(h, h), (h, self.kv), (h, self.kv), (h, h), (h, f), (h, f), (f, h)]

    @property
    def backbone(self) -> int:
        """Weights of the layers' matrices."""
        return self.layers * sum(a * b for a, b in self.matrices)

    @property
    def adapter(self) -> int:
        """Weights of LoRA on every linear layer."""
        return self.layers * RANK * sum(a + b for a, b in self.matrices)

    @property
    def head(self) -> int:
        """Weights of the vocabulary head."""
        return self.hidden * self.vocabulary


SHAPES = {
    "42m": Shape(512, 8, 1536, 32000),
    "12m": Shape(384, 6, 1024, 8192),
    "nano": Shape(256, 5, 704, 4096, kv_heads=4, tied=True),
    "tiny": Shape(64, 2, 128, 512),
    "0.5b": Shape(896, 24, 4864, 151936, heads=14, kv_heads=2, tied=True),
    "1b": Shape(2048, 16, 8192, 128256, heads=32, kv_heads=8, tied=True),
    "8b": Shape(4096, 32, 14336, 128256, heads=32, kv_heads=8),
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


@dataclass(frozen=True)
class PairWork:
    """A prompt with a better and a worse answer, as token ids."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def preference_pairs(num: int, vocabulary: int) -> list[PairWork]:
    """Prompts of 128 to 256 tokens with two answers of 30 to 60."""
    draw = np.random.default_rng(16)

    def ids(low: int, high: int) -> list[int]:
        found: list[int] = draw.integers(3, vocabulary, int(draw.integers(low, high + 1))).tolist()
        return found

    return [PairWork(ids(128, 256), ids(30, 60), ids(30, 60)) for _ in range(num)]


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


def prompts(num: int, vocabulary: int, *, seed: int = 0) -> list[list[int]]:
    """Prompts of 16 to 64 tokens to be answered; the first has 32."""
    draw = np.random.default_rng([15, seed])
    sizes = [32, *draw.integers(16, 65, num - 1).tolist()]
    return [draw.integers(3, vocabulary, size).tolist() for size in sizes]


# The tokenizer below knows bytes, so a letter is a token; the template of bases without one adds 18 tokens.
TEMPLATE_TOKENS = 18
LETTERS = string.ascii_letters + string.digits + string.punctuation


def labels() -> list[str]:
    """77 labels of 1 to 6 letters, no two with the same first letter."""
    draw = random.Random(13)
    return [first + "".join(draw.choices(LETTERS, k=draw.randrange(6))) for first in draw.sample(LETTERS, 77)]


def questions(num: int) -> list[list[dict[str, str]]]:
    """Messages to be labelled, each a prompt of 60 tokens in all."""
    draw = random.Random(14)
    return [[_said("user", draw, 60 - TEMPLATE_TOKENS)] for _ in range(num)]


def few_shot_questions(num: int) -> list[list[dict[str, str]]]:
    """Messages of 30 to 60 letters under the same 1,000 tokens of examples: 20 questions with their answers."""
    draw = random.Random(15)
    shown = [_said(role, draw, size) for _ in range(20) for role, size in (("user", 22), ("assistant", 6))]
    return [[*shown, _said("user", draw, draw.randrange(30, 61))] for _ in range(num)]


def _said(role: str, draw: random.Random, size: int) -> dict[str, str]:
    return {"role": role, "content": "".join(draw.choices(LETTERS, k=size))}


ROWS = {"instructions": instruction_rows, "evaluation": instruction_rows, "shared": shared_prompt_rows}


def make_base(folder: Path, shape: Shape, *, device: str = "cpu", dtype: str = "float32") -> None:
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
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    config.dtype = getattr(torch, dtype)
    with torch.device(device):
        LlamaForCausalLM(config).to(config.dtype).save_pretrained(folder)
    words = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    plain = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)


def make_adapters(base: Path, num: int = ADAPTERS) -> None:
    """Write random adapters beside a base, in PEFT's layout."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    for number in range(num):
        torch.manual_seed(number)
        net = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
        lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(net, lora).save_pretrained(str(adapter_folder(base, number)))


def adapter_folder(base: str | Path, number: int) -> Path:
    """Where one of the random adapters is."""
    return Path(f"{base}-adapter-{number}")


def needed_flops(shape: Shape, method: str, tokens: int, learned: int) -> float:
    """Floating-point operations in matrix products that the gradient of these rows cannot do without.

    A frozen matrix: one product forward and one backward, two operations a weight and token. A trained one: one more
    for its own gradient. The head counts at learned tokens only; attention and everything element-wise is left out.
    """
    if method == "lora":
        return tokens * (4.0 * shape.backbone + 6.0 * shape.adapter) + learned * 4.0 * shape.head
    return tokens * 6.0 * shape.backbone + learned * 6.0 * shape.head


def reference_flops(shape: Shape, tokens: int, learned: int) -> float:
    """Floating-point operations in matrix products that the log-probs of these tokens cannot do without."""
    return tokens * 2.0 * shape.backbone + learned * 2.0 * shape.head


def decoding_bytes(shape: Shape, prompt: int, new: int) -> float:
    """Bytes that greedy decoding of one request in float32 cannot do without reading.

    Every weight of the layers and of the head once a token, and the keys and values of the tokens before it.
    """
    cached = sum(range(prompt, prompt + new)) * 2 * shape.layers * shape.kv
    return 4.0 * (new * (shape.backbone + shape.head) + cached)


if __name__ == "__main__":
    import sys

    make_base(Path(sys.argv[2]), SHAPES[sys.argv[1]])
