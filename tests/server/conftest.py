"""A server process over tiny random releases, with the official client in front of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from server_process import Server, start

from tunewright.core import storage

from .shop import JUDGED, Shop, shop_of

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LABELS = ["lost card", "card arrival", "exchange rate"]
CONTEXT = 4096
METHODS: dict[str, dict[str, Any]] = {  # runs with adapters other than plain LoRA
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "started": {"kind": "lora", "rank": 4, "start": "pissa"},
    "ia3": {"kind": "ia3"},
    "bottleneck": {"kind": "bottleneck", "place": "parallel", "size": 8},
    "prompt": {"kind": "prompt", "tokens": 4},
    "prefix": {"kind": "prefix", "tokens": 4},
    "loha": {"kind": "peft", "tuner": "LOHA", "options": {"r": 4, "target_modules": ["q_proj", "down_proj"]}},
}
RUNS = ["red", "blue", "desk", "whole", "endless", "hot", *METHODS]


@dataclass(frozen=True)
class Place:
    """Where the releases of the tests lie."""

    runs: Path
    base: Path

    def release(
        self, run: str, seed: int, *, merged: bool = False, method: dict[str, Any] | None = None, **decode: Any
    ) -> Path:
        """Write the next release of a run: a random adapter, or weights of its own."""
        from tunewright.core.recipe import ModelOptions
        from tunewright.models import roots
        from tunewright.models.bases import weights_digest
        from tunewright.models.opening import open_model

        folder = self.runs / run
        number = 1 + len(list((folder / "releases").glob("0*")))
        model = open_model(ModelOptions(base=str(self.base)))
        root = roots.fixed(model.net)
        about = {
            "run": run,
            "release": number,
            "created": "2026-01-02T03:04:05+00:00",
            "base": str(self.base),
            "base_digest": weights_digest(str(self.base)),
            "chat_digest": model.chat.digest,
            "dtype": "float32",
            "root": root.size if root else None,
            "verdict": "GO",
            "decode": {"kind": "generate", "max_new_tokens": 12, "stop_ids": model.chat.stop_ids, **decode},
        }
        if not (folder / "run.json").exists():
            storage.write_json(folder / "run.json", {"name": run, "state": "done"})
        with storage.new_folder(folder / "releases" / f"{number:03d}", about=about) as target:
            if merged:
                shake(model.net, seed)
                model.save(target / "merged")
            else:
                write_adapter(model.net, seed, target / "adapter", method=method)
        return folder / "releases" / f"{number:03d}"


def shake(net: Any, seed: int) -> None:
    """Change weights at random."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)


def write_adapter(net: Any, seed: int, folder: Path, *, method: dict[str, Any] | None = None) -> None:
    """An adapter that changes answers: LoRA with a random B when no other is asked for."""
    from tunewright.core import catalog
    from tunewright.models import lora_layers

    part = catalog.build("methods", method or {"kind": "lora", "rank": 4, "alpha": 8})
    part.attach(net, seed=seed)
    moved = [layer.B for _, layer in lora_layers.layers(net)] if method is None else [net]
    for module in moved:
        shake(module, seed)
    part.save(net, folder)


def make_base(folder: Path) -> None:
    """A random Llama with a byte tokenizer; weights large enough that its choices are clear."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token=special[0], eos_token=special[2])
    tokenizer.add_special_tokens({"additional_special_tokens": [special[1]]})
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two adapters and a choosing one on one base, and a merged one."""
    root = tmp_path_factory.mktemp("serve")
    make_base(root / "tiny")
    place = Place(root / "runs", root / "tiny")
    place.release("red", 1)
    place.release("blue", 2, system="Be brief.")
    place.release("desk", 3, kind="choices", labels=LABELS)
    place.release("whole", 4, merged=True, temperature=1.0)
    place.release("endless", 5, stop_ids=[10**6])  # a token that is never said
    place.release("hot", 6)
    for seed, (run, method) in enumerate(METHODS.items(), 7):
        place.release(run, seed, method=method)
    return place


@pytest.fixture(scope="session")
def server(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The one server that most tests ask."""
    server = start(place.runs, RUNS, tmp_path_factory.mktemp("log") / "server.log")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client(server: Server) -> OpenAI:
    """The official client of that server."""
    return server.client()


@pytest.fixture(scope="session")
def whole_shop(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One server for all tests, with a release that says what a grading model would. TUNEWRIGHT_TEST_DATABASE: the URL
    of an empty PostgreSQL database, to try that instead of SQLite.
    """
    place.release("judge", 21, kind="choices", labels=JUDGED)
    folder = tmp_path_factory.mktemp("shop")
    config = {"models": {"nano": str(place.base)}, "database": os.environ.get("TUNEWRIGHT_TEST_DATABASE")}
    storage.write_json(folder / ".tunewright" / "workspace.yaml", config)
    with shop_of(folder, runs=[place.runs / "judge"]) as shop:
        yield shop


@pytest.fixture
def shop(whole_shop: Shop) -> Shop:
    """That server, without jobs."""
    whole_shop.clear()
    return whole_shop
