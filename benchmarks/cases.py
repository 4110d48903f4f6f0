"""The cases: a piece of work, who does it, and what is told about it."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "tunewright"


@dataclass(frozen=True)
class Case:
    """A piece of work. A contender may stand in several columns of `contenders.py`; `work` says which."""

    title: str
    work: str
    shape: str
    contenders: tuple[str, ...]
    method: str = "lora"
    figure: str = "tokens"  # what is counted a second; "seconds": the time of a unit itself
    size: int = 1  # units in a turn
    limit: str = ""  # "products" or "memory": what the machine could do at most
    megabytes: float = 8  # of the file that is read
    fresh: bool = False  # every round is a new process, measured to the end of its first unit


TRAINERS = (OURS, "flattening", "trl-packing")
CASES = {
    "instructions": Case(
        "LoRA r=16 on all linear layers, 42M, instruction rows", "instructions", "42m", TRAINERS, limit="products"
    ),
    "as-it-comes": Case(
        "The same, against TRL with its own defaults", "instructions", "42m", (OURS, "trl"), limit="products"
    ),
    "small": Case(
        "LoRA r=16, 12M, instruction rows", "instructions", "12m", (OURS, "flattening"), size=3, limit="products"
    ),
    "full": Case(
        "Full tuning, 42M, instruction rows", "instructions", "42m", (OURS, "trl-packing"), "full", limit="products"
    ),
    "shared": Case(
        "LoRA r=16, 42M, rows that share a 256-token system prompt",
        "shared",
        "42m",
        (OURS, "flattening", "padded"),
        limit="products",
    ),
    "dpo": Case(
        "DPO with LoRA r=16, 42M, 16 pairs a step, the reference asked for each once",
        "dpo",
        "42m",
        (OURS, "trl-accumulating"),
        limit="products",
    ),
    "dpo-one-batch": Case(
        "The same, against TRL with all pairs in one padded batch",
        "dpo",
        "42m",
        (OURS, "trl-padded"),
        limit="products",
    ),
    "head": Case(
        "The vocabulary head's loss and gradient at 2,000 learned tokens, 42M, frozen head",
        "head",
        "42m",
        (OURS, "fused", "whole"),
    ),
    "head-trained": Case("The same where the head trains", "head", "42m", (OURS, "fused", "whole"), "full"),
    "evaluation": Case(
        "Validation loss of 64 instruction rows, 42M", "evaluation", "42m", (OURS, "flattening"), limit=""
    ),
    "first-step": Case(
        "First step of the 42M LoRA training, from the start of the process",
        "instructions",
        "42m",
        (OURS, "flattening"),
        figure="seconds",
        fresh=True,
    ),
    "help": Case("`tunewright --help`", "help", "", (OURS, "python", "trl"), figure="seconds"),
    "labels": Case(
        "77 labels under a message of 60 tokens, 42M",
        "labels",
        "42m",
        (OURS, "tunewright-best", "cached", "padded"),
        figure="messages",
    ),
    "labels-nano": Case(
        "77 labels under a message of 60 tokens, the shape of nano (4.7M)",
        "labels",
        "nano",
        (OURS, "tunewright-best", "cached", "padded"),
        figure="messages",
        size=2,
    ),
    "few-shot-labels": Case(
        "The best of 77 labels under 1,000 tokens of fixed examples, 42M",
        "few-shot-labels",
        "42m",
        (OURS, "cached"),
        figure="messages",
    ),
    "few-shot-answers": Case(
        "Answers of 8 tokens under 1,000 tokens of fixed examples, 42M",
        "few-shot-answers",
        "42m",
        (OURS, "padded"),
        figure="messages",
    ),
    "decode-one": Case(
        "Greedy decoding, one request, 42M", "decode-one", "42m", (OURS, "dynamic", "static"), limit="memory"
    ),
    "decode-batch": Case("Greedy decoding, 32 requests at once, 42M", "decode-batch", "42m", (OURS, "dynamic")),
    "adapters": Case(
        "32 requests to four adapters over one 42M base, in one batch",
        "adapters",
        "42m",
        (OURS, "one-adapter", "peft"),
    ),
    "prepare": Case(
        "Preparing a JSONL file of 8 MB: read, clean, check, split", "prepare", "", (OURS,), figure="megabytes"
    ),
    "encoding": Case("Encoding the rows of that file with the tokenizer of nano", "encoding", "", (OURS, "trl")),
    "large": Case(
        "A JSONL file of 2 GB: prepared, and its rows encoded and stored",
        "large",
        "",
        (OURS,),
        figure="megabytes",
        megabytes=2000,
    ),
}
QUICK = ("instructions", "labels", "decode-one", "help")
# slow, or a weaker setting of a peer that another case has: measured when asked for by name
OPTIONAL = ("as-it-comes", "dpo-one-batch", "evaluation", "few-shot-labels", "head-trained", "large")
DEFAULT = tuple(name for name in CASES if name not in OPTIONAL)
