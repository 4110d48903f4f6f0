"""Contenders that answer: labels, few-shot prompts, greedy decoding, several adapters over one base."""

from __future__ import annotations

import argparse
from typing import Any

import workload
from turns import Turns
from workload import SHAPES, decoding_bytes

ASKED = {"few-shot-answers": 24}  # messages that an evaluation asks in one call here; 8 in the other cases
FEW_SHOT_TOKENS = 8  # new tokens of an answer to a few-shot prompt
NEW_TOKENS = {"decode-one": 128, "decode-batch": 64, "adapters": 32}
BATCH = 32  # requests at once


def num_asked(options: argparse.Namespace) -> int:
    """How many messages a unit asks."""
    return ASKED.get(options.case, 8)


# --- labels ---


def asked(options: argparse.Namespace) -> list[Any]:
    """The conversations of a unit."""
    make = workload.few_shot_questions if options.case.startswith("few-shot") else workload.questions
    return make(num_asked(options))


def scored_ids(options: argparse.Namespace) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and label endings as token ids, the same for every contender."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_chat

    chat = open_chat(ModelOptions(base=options.base))
    return [chat.prompt_ids(m) for m in asked(options)], [chat.answer_ids(label) for label in workload.labels()]


def engine(options: argparse.Namespace) -> Any:
    """The product's engine over the base."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.engine import Engine
    from tunewright.models.opening import open_model

    return Engine(open_model(ModelOptions(base=options.base)))


def peer(options: argparse.Namespace) -> Any:
    """The same model in transformers."""
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(options.base, dtype="float32", attn_implementation="sdpa").eval()
    net.generation_config.eos_token_id = None  # every answer has its full length
    return net


def labels_answered(options: argparse.Namespace, turns: Turns) -> None:
    """The best label of each message, as evaluation and batch answering ask for it."""
    from tunewright.models.decode import Decode, answer

    held, decode = engine(options), Decode(kind="choices", labels=workload.labels())
    for _ in range(options.units):
        with turns.unit() as done:
            found = answer(held, decode, asked(options))
            done["messages"] = num_asked(options)
        turns.check["labels"] = [one.text for one in found]


def labels_scored(options: argparse.Namespace, turns: Turns) -> None:
    """The log-prob of every label, one message a call, as a request that wants them all is served."""
    from tunewright.models import scoring

    held = engine(options)
    prompts, endings = scored_ids(options)
    for _ in range(options.units):
        with turns.unit() as done:
            scores = [scoring.scores(held.model, [prompt], endings)[0] for prompt in prompts]
            done["messages"] = num_asked(options)
        checked(turns, scores)


def checked(turns: Turns, scores: list[list[float]]) -> None:
    """What was found: the scores of the first message and the label of each."""
    turns.check["scores"] = scores[0]
    turns.check["labels"] = [workload.labels()[row.index(max(row))] for row in scores]


def padding(endings: list[list[int]]) -> tuple[Any, Any]:
    """Endings as one matrix, and which of its places are real."""
    import torch

    longest = max(map(len, endings))
    padded = torch.tensor([[*ending, *[0] * (longest - len(ending))] for ending in endings])
    real = torch.tensor([[1.0] * len(ending) + [0.0] * (longest - len(ending)) for ending in endings])
    return padded, real


def labels_padded(options: argparse.Namespace, turns: Turns) -> None:
    """77 padded rows under each message in one transformers batch; logits at the endings only."""
    import torch

    net = peer(options)
    prompts, endings = scored_ids(options)
    padded, real = padding(endings)

    @torch.inference_mode()
    def score(prompt: list[int]) -> list[float]:
        rows = torch.cat([torch.tensor([prompt]).expand(len(endings), -1), padded], 1)
        logits = net(input_ids=rows, use_cache=False, logits_to_keep=padded.shape[1] + 1).logits[:, :-1]
        logp = torch.log_softmax(logits, -1).gather(2, padded[..., None])[..., 0]
        found: list[float] = (logp * real).sum(1).tolist()
        return found

    for _ in range(options.units):
        with turns.unit() as done:
            scores = [score(prompt) for prompt in prompts]
            done["messages"] = num_asked(options)
        checked(turns, scores)


def labels_cached(options: argparse.Namespace, turns: Turns) -> None:
    """The message read once by transformers, its cache repeated for 77 padded endings."""
    import torch

    net = peer(options)
    prompts, endings = scored_ids(options)
    padded, real = padding(endings)

    @torch.inference_mode()
    def score(prompt: list[int]) -> list[float]:
        read = net(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        first = torch.log_softmax(read.logits[0, -1], -1)[padded[:, :1]]
        read.past_key_values.batch_repeat_interleave(len(endings))
        logits = net(input_ids=padded[:, :-1], past_key_values=read.past_key_values).logits
        rest = torch.log_softmax(logits, -1).gather(2, padded[:, 1:, None])[..., 0]
        found: list[float] = (torch.cat([first, rest], 1) * real).sum(1).tolist()
        return found

    for _ in range(options.units):
        with turns.unit() as done:
            scores = [score(prompt) for prompt in prompts]
            done["messages"] = num_asked(options)
        checked(turns, scores)


# --- generating ---


def few_shot_answered(options: argparse.Namespace, turns: Turns) -> None:
    """Short answers to prompts that begin with the same examples, as evaluation asks for them."""
    held = engine(options)
    prompts, _ = scored_ids(options)
    for _ in range(options.units):
        with turns.unit() as done:
            found = held.generate(prompts, max_new_tokens=FEW_SHOT_TOKENS, stop_ids=[])
            done["messages"] = num_asked(options)
        turns.check["answers"] = [one.ids for one in found]


def few_shot_padded(options: argparse.Namespace, turns: Turns) -> None:
    """`generate` over all prompts in one padded batch."""
    net = peer(options)
    prompts, _ = scored_ids(options)
    for _ in range(options.units):
        with turns.unit() as done:
            found = generated(net, prompts, FEW_SHOT_TOKENS)
            done["messages"] = num_asked(options)
        turns.check["answers"] = found


def generated(net: Any, prompts: list[list[int]], new: int, **settings: Any) -> list[list[int]]:
    """Greedy answers of `generate` to left-padded prompts."""
    import torch

    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    out = net.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0, **settings
    )
    found: list[list[int]] = out[:, longest:].tolist()
    return found


def requests(options: argparse.Namespace) -> tuple[list[list[int]], int]:
    """The prompts of a decoding case, and how many tokens each is answered with."""
    num = 1 if options.case == "decode-one" else BATCH
    return workload.prompts(num, SHAPES[options.shape].vocabulary), NEW_TOKENS[options.case]


def decoded(options: argparse.Namespace, prompts: list[list[int]], new: int) -> dict[str, float]:
    """What answering came to; the bytes it cannot do without are told for a single request."""
    amounts: dict[str, float] = {"tokens": new * len(prompts)}
    if len(prompts) == 1:
        amounts["bytes"] = decoding_bytes(SHAPES[options.shape], len(prompts[0]), new)
    return amounts


def decode_ours(options: argparse.Namespace, turns: Turns) -> None:
    """Greedy answers of the product's engine."""
    held = engine(options)
    prompts, new = requests(options)
    for _ in range(options.units):
        with turns.unit() as done:
            found = held.generate(prompts, max_new_tokens=new, stop_ids=[])
            done.update(decoded(options, prompts, new))
        turns.check["answers"] = [one.ids for one in found]


def decode_dynamic(options: argparse.Namespace, turns: Turns, **settings: Any) -> None:
    """`generate` with its own default cache."""
    net = peer(options)
    prompts, new = requests(options)
    for _ in range(options.units):
        with turns.unit() as done:
            found = generated(net, prompts, new, **settings)
            done.update(decoded(options, prompts, new))
        turns.check["answers"] = found


def decode_static(options: argparse.Namespace, turns: Turns) -> None:
    """`generate` with a static cache."""
    decode_dynamic(options, turns, cache_implementation="static")


# --- adapters ---


def names(options: argparse.Namespace) -> list[str]:
    """The adapter of each request: four of them in turn."""
    return [f"adapter-{number % workload.ADAPTERS}" for number in range(BATCH)]


def adapters_mixed(options: argparse.Namespace, turns: Turns) -> None:
    """Requests to four adapters in one batch; each answer must equal its adapter's alone."""
    held = with_adapters(options)
    prompts, new = requests(options)
    wanted = names(options)
    for _ in range(options.units):
        with turns.unit() as done:
            found = held.generate(prompts, max_new_tokens=new, stop_ids=[], adapters=wanted)
            done["tokens"] = new * len(prompts)
    for name in sorted(set(wanted)):
        own = [number for number, other in enumerate(wanted) if other == name]
        alone = held.generate([prompts[n] for n in own], max_new_tokens=new, stop_ids=[], adapters=[name] * len(own))
        if [found[n].ids for n in own] != [one.ids for one in alone]:
            raise SystemExit(f"Answers of {name} among other adapters differ from its answers alone.")
    turns.check["answers"] = [one.ids for one in found]


def adapters_one(options: argparse.Namespace, turns: Turns) -> None:
    """The same requests, all to one adapter."""
    held = with_adapters(options)
    prompts, new = requests(options)
    for _ in range(options.units):
        with turns.unit() as done:
            held.generate(prompts, max_new_tokens=new, stop_ids=[], adapters=["adapter-0"] * len(prompts))
            done["tokens"] = new * len(prompts)


def with_adapters(options: argparse.Namespace) -> Any:
    """The engine with four adapters loaded."""
    held = engine(options)
    for number in range(workload.ADAPTERS):
        held.model.load_adapter(f"adapter-{number}", workload.adapter_folder(options.base, number))
    return held


def adapters_peft(options: argparse.Namespace, turns: Turns) -> None:
    """PEFT's mixed batches: `generate` with an adapter name for each request."""
    from peft import PeftModel

    held = PeftModel.from_pretrained(
        peer(options), str(workload.adapter_folder(options.base, 0)), adapter_name="adapter-0"
    ).eval()
    for number in range(1, workload.ADAPTERS):
        held.load_adapter(str(workload.adapter_folder(options.base, number)), adapter_name=f"adapter-{number}")
    prompts, new = requests(options)
    for _ in range(options.units):
        with turns.unit() as done:
            found = generated(held, prompts, new, adapter_names=names(options))
            done["tokens"] = new * len(prompts)
    turns.check["answers"] = found
