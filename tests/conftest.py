"""Tiny real models that every test may share: random weights, a byte-level tokenizer, a ChatML template."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tunewright.models.forest import Row
    from tunewright.models.tunable import TunableModel

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = [
    "My card was stolen in the market this morning, please block it.",
    "Where is the parcel with my new card? It should have arrived on Monday.",
    "Thank you for telling us. We have blocked the card and sent another one.",
    "What is the exchange rate for euros today, and which fees do you take?",
]


def make_tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerBase:
    """Byte-level BPE with 300 tokens, ChatML's control tokens among them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(SENTENCES * 2, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


def framed_tokenizer(kind: str) -> PreTrainedTokenizerBase:
    """The same tokenizer without a template, framing a text as T5 (text </s>) or BART (<s> text </s>) does."""
    from tokenizers import processors

    tokenizer: Any = make_tokenizer(None)
    end = ("<|endoftext|>", 0)
    if kind == "bart":
        tokenizer.bos_token, tokenizer.pad_token = "<|im_start|>", "<|im_end|>"
        frame = processors.TemplateProcessing(
            single="<|im_start|> $A <|endoftext|>", special_tokens=[("<|im_start|>", 1), end]
        )
    else:
        frame = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[end])
    tokenizer.backend_tokenizer.post_processor = frame
    return tokenizer


def paired_config(kind: str, vocabulary: int) -> Any:
    """A config of an encoder-decoder of two small layers each."""
    import transformers as tf

    if kind in ("t5", "t5_apart", "mt5"):
        options: dict[str, Any] = dict(
            vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0,
            eos_token_id=0, decoder_start_token_id=0, relative_attention_num_buckets=8, initializer_factor=1.0,
        )  # fmt: skip
        if kind == "t5":
            return tf.T5Config(**options)
        gated: dict[str, Any] = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        return tf.T5Config(**options, **gated) if kind == "t5_apart" else tf.MT5Config(**options, **gated)
    options = dict(
        vocab_size=vocabulary, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=256, init_std=0.15,
        pad_token_id=2, eos_token_id=0, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    assert kind in ("bart", "pegasus"), kind
    return tf.BartConfig(**options, bos_token_id=1) if kind == "bart" else tf.PegasusConfig(**options)


PAIRED = ("t5", "t5_apart", "mt5", "bart", "pegasus")


def tiny_config(kind: str, vocabulary: int) -> Any:
    """A config of two or three small layers in which attention matters."""
    import transformers as tf

    common: dict[str, Any] = dict(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    if kind == "llama":
        return tf.LlamaConfig(**{**common, "num_hidden_layers": 3})
    if kind == "gpt2":
        return tf.GPT2Config(
            vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.15,
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
    if kind == "qwen2":
        return tf.Qwen2Config(**common, tie_word_embeddings=True)
    if kind == "qwen3":
        return tf.Qwen3Config(**common)
    if kind == "mistral":
        return tf.MistralConfig(**common, sliding_window=16)
    if kind == "gemma2":
        return tf.Gemma2Config(
            **common,
            sliding_window=16,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=3.0,
            query_pre_attn_scalar=8,
        )
    assert kind == "gpt_oss", kind
    return tf.GptOssConfig(**common, sliding_window=16, num_local_experts=4, num_experts_per_tok=2)


@pytest.fixture(scope="session")
def part_options() -> dict[str, dict[str, Any]]:
    """What some kinds of methods and objectives cannot do without on the tiny Llama."""
    return {
        "bitfit": {"norms": True},  # a Llama has no biases
        "bottleneck": {"reduction": 2},  # a sixteenth of this tiny model is next to nothing
        "distill": {"teacher": "other", "mix": 0.8},
        "peft": {"tuner": "LOHA", "options": {"r": 4, "target_modules": "all-linear"}},
    }


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[..., PreTrainedTokenizerBase]:
    """tokenizer_of(template): the tiny tokenizer with a template of one's own (None: a base without any)."""
    return make_tokenizer


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny(kind): the folder of a tiny random model of that architecture."""
    made: dict[str, Path] = {}

    def folder(kind: str = "llama") -> Path:
        if kind not in made:
            import torch
            from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

            torch.manual_seed(1)
            if kind in PAIRED:
                tokenizer = framed_tokenizer(kind)
                net = AutoModelForSeq2SeqLM.from_config(paired_config(kind, len(tokenizer)))
                if kind == "t5_apart":
                    net.lm_head.weight = torch.nn.Parameter(torch.randn(len(tokenizer), 32) * 0.3)
            else:
                tokenizer = make_tokenizer()
                net = AutoModelForCausalLM.from_config(tiny_config(kind, len(tokenizer)))
            with torch.no_grad():
                for parameter in net.parameters():
                    if parameter.dim() < 2:  # norms, biases and sinks: all equal in a fresh model, which hides mistakes
                        parameter.add_(torch.randn_like(parameter) * 0.2)
            made[kind] = tmp_path_factory.mktemp(f"tiny-{kind}")
            net.save_pretrained(made[kind])
            tokenizer.save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def open_tiny(tiny: Callable[[str], Path]) -> Callable[..., TunableModel]:
    """open_tiny(kind): a fresh TunableModel of a tiny model."""

    def opened(kind: str = "llama", *, double: bool = False) -> TunableModel:
        from tunewright.core.recipe import ModelOptions
        from tunewright.models.opening import open_model

        model = open_model(ModelOptions(base=str(tiny(kind))))
        if double:
            model.net.double()
        return model

    return opened


@pytest.fixture(scope="session")
def random_rows() -> Callable[..., list[Row]]:
    """random_rows(shape, seed): rows of a shape (chains, prompt, labels, deep, twins, mixed) with random ids."""

    def rows(shape: str, seed: int = 0, *, vocabulary: int = 300) -> list[Row]:
        import numpy as np

        from tunewright.models.forest import Row

        draw = np.random.default_rng([seed, len(shape), ord(shape[0])])

        def ids(low: int, high: int) -> list[int]:
            return draw.integers(0, vocabulary, int(draw.integers(low, high + 1))).tolist()

        def grown(depth: int) -> list[list[int]]:
            if depth == 0:
                return [[]]
            return [[*part, *rest] for part in (ids(1, 22) for _ in range(2)) for rest in grown(depth - 1)]

        if shape == "chains":
            items = [ids(2, 130) for _ in range(5)]
        elif shape == "prompt":
            prompt = ids(60, 90)
            items = [[*prompt, *ids(20, 40)] for _ in range(5)]
        elif shape == "labels":
            prompt = ids(20, 30)
            items = [[*prompt, *ids(1, 5)] for _ in range(30)]
        elif shape == "deep":
            items = grown(4)
        elif shape == "twins":  # equal rows, a row that is the beginning of another, rows of two tokens
            row = ids(30, 40)
            items = [row, row, row[:20], [*row, *ids(3, 5)], ids(2, 2), row[:2]]
        else:
            assert shape == "mixed", shape
            items = [row.items for part in ("chains", "prompt", "labels", "deep", "twins") for row in rows(part, seed)]
        draw.shuffle(items)
        made = []
        for number, row in enumerate(items):
            weights = draw.choice([0.0, 0.0, 1.0, 1.0, 0.5], len(row))
            weights[0] = 0.0
            made.append(Row(list(row), weights.tolist(), f"e{number}"))
        return made

    return rows


@dataclass
class ModelServer:
    """A server of OpenAI's chat completions in a thread of its own: what it answers is a function of the
    request's body; what it was asked is kept. `faults` are sent first, each (status, headers, body).
    """

    url: str
    answer: Callable[[dict[str, Any]], str]
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    usage: bool = True
    seconds: float = 0.0
    together: int = 0  # the most requests at once


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A local HTTP server that speaks chat completions. Set its `answer`."""
    import json
    import threading
    import time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    guard, live = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with guard:
                live[0] += 1
                spoken.together = max(spoken.together, live[0])
                spoken.asked.append(body)
                spoken.headers.append(dict(self.headers))
                fault = spoken.faults.pop(0) if spoken.faults else None
            time.sleep(spoken.seconds)
            status, headers, text = fault or (200, {}, json.dumps(self.reply(body)))
            with guard:
                live[0] -= 1
            if status == 0:  # the line breaks
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def reply(self, body: dict[str, Any]) -> dict[str, Any]:
            text = spoken.answer(body)
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            sent = sum(len(message["content"].split()) for message in body["messages"])
            usage = {"usage": {"prompt_tokens": sent, "completion_tokens": len(text.split())}}
            return {"object": "chat.completion", "choices": [choice]} | (usage if spoken.usage else {})

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            return  # a client that no longer waits

    server = Server(("127.0.0.1", 0), Handler)
    spoken = ModelServer(f"http://127.0.0.1:{server.server_port}/v1", lambda body: "hello")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield spoken
    server.shutdown()
    server.server_close()


@pytest.fixture
def answered_run(tmp_path: Path) -> Callable[..., Any]:
    """answered_run(rows, texts=..., evaluate=...): a run by hand whose rows and cases are answered. texts(row): who
    says what; the deciding grader, `rouge`, prefers the tuned model.
    """
    from tunewright.core import storage
    from tunewright.core.recipe import Recipe
    from tunewright.core.report import Report
    from tunewright.core.run import Run

    def usual(row: int) -> dict[str, str]:
        return {"tuned": f"We will help you with {row}.", "base": f"the of {row}", "few_shot": f"Help {row}"}

    def make(rows: int = 40, *, texts: Callable[[int], dict[str, str]] = usual, cases: int = 5, **evaluate: Any) -> Run:
        (tmp_path / "cases.jsonl").write_text(
            "".join(f'{{"prompt": "Case {n}?", "expected": "Yes."}}\n' for n in range(cases))
        )
        values = {"data": {"sources": ["rows.jsonl"]}, "model": "nano", "method": "lora", "name": "desk"}
        recipe = Recipe.parse({**values, "evaluate": {"graders": ["rouge"], **evaluate}}, folder=tmp_path)
        run = Run.begin(recipe, runs=tmp_path / "runs")
        for name in ("recipe.yaml", "recipe.given.yaml"):
            storage.write_text(run.path(name), recipe.to_yaml({}))
        table = [
            {
                "id": f"test:{row}",
                "prompt": f"Question {row}?",
                "expected": "Yes.",
                "slice": None,
                "answers": texts(row),
                "grades": {name: {"rouge": 0.9 if name == "tuned" else 0.4} for name in texts(row)},
            }
            for row in range(rows)
        ]
        storage.write_jsonl(run.path("evaluate", "answers.jsonl"), table)
        answered = [{"id": f"cases:{n}", "prompt": f"Case {n}?", "expected": "Yes.", "answer": f"{n}: of course."}
                    for n in range(cases)]  # fmt: skip
        storage.write_jsonl(run.path("evaluate", "cases.jsonl"), answered)
        figures = {"grader": "rouge", "rows": rows, "need": None}
        Report(stage="evaluate", run="desk", verdict="GO", reason="rouge is 0.900.", numbers=figures).save(
            run.path("evaluate")
        )
        return run

    return make
