"""One contender in a process of its own: trains or scores a fixed work and writes what it measured as JSON.

python benchmarks/contenders.py NAME --case instructions --base FOLDER --shape 42m --steps 6 --out FILE --born SECONDS
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workload import BATCH, RANK, ROWS, SHAPES, Work, label_endings, messages, needed_flops

LR = 1e-4
PACK = 1024  # length of TRL's packed sequences; two of them hold about as many tokens as 16 rows


class Steps:
    """When each optimizer step ended, and how many tokens it held."""

    def __init__(self) -> None:
        self.ended: list[float] = []
        self.losses: list[float] = []
        self.tokens: list[int] = []
        self.computed: list[int] = []  # where shared beginnings count once; empty: the same as tokens
        self.learned: list[int] = []

    def facts(self, *, shape: str, method: str, born: float) -> dict[str, Any]:
        """Tokens a second and useful operations a second after the first step."""
        count = len(self.ended)
        tokens, learned = sum(self.tokens[1:count]), sum(self.learned[1:count])
        computed = sum(self.computed[1:count]) or tokens
        seconds = self.ended[-1] - self.ended[0]
        return {
            "tokens_per_second": tokens / seconds,
            "flops_per_second": needed_flops(SHAPES[shape], method, computed, learned) / seconds,
            "tokens": tokens,
            "seconds": seconds,
            "first_step_seconds": self.ended[0] - born,
            "losses": self.losses,
        }


def tunewright(options: argparse.Namespace, rows: list[Work]) -> dict[str, Any]:
    """Forest batches through the product's own optimizer step."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions, TrainOptions
    from tunewright.models.forest import Row
    from tunewright.models.tunable import open_model
    from tunewright.training.step import Stepper

    model = open_model(ModelOptions(base=options.base))
    method = catalog.build("methods", {"kind": "lora", "rank": RANK} if options.method == "lora" else "full")
    method.attach(model.net)
    stepper = Stepper(
        model, method, catalog.build("objectives", "sft"), TrainOptions(lr=LR, micro_tokens=options.micro_tokens)
    )
    units = [[Row(r.items, [0.0] * r.prompt + [1.0] * r.learned, str(n))] for n, r in enumerate(rows)]
    steps = Steps()
    for step in range(options.steps):
        result = stepper.take(units[step * BATCH : (step + 1) * BATCH], factor=1.0, seed=step)
        steps.ended.append(time.time())
        steps.losses.append(result.loss)
        steps.tokens.append(result.tokens)
        steps.computed.append(result.forest_tokens)
        steps.learned.append(int(result.learned_tokens))
    return steps.facts(shape=options.shape, method=options.method, born=options.born)


def flattening(options: argparse.Namespace, rows: list[Work]) -> dict[str, Any]:
    """transformers Trainer, PEFT, padding-free collator, float32, SDPA with the block mask that positions imply."""
    from datasets import Dataset
    from transformers import DataCollatorWithFlattening, Trainer, TrainingArguments

    data = Dataset.from_list([{"input_ids": r.items, "labels": [-100] * r.prompt + r.items[r.prompt :]} for r in rows])
    steps = Steps()
    collator = counted(DataCollatorWithFlattening(), steps)
    arguments = TrainingArguments(
        output_dir=options.folder, use_cpu=True, per_device_train_batch_size=BATCH, max_steps=options.steps,
        learning_rate=LR, lr_scheduler_type="constant", report_to="none", save_strategy="no", logging_steps=1,
        train_sampling_strategy="sequential", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    trainer = Trainer(model=peer_net(options), args=arguments, train_dataset=data, data_collator=collator)
    return trained(trainer, steps, options)


def trl_packing(options: argparse.Namespace, rows: list[Work]) -> dict[str, Any]:
    """TRL SFTTrainer in float32 with packing and without gradient checkpointing: its fastest setting here."""
    changes = {
        "bf16": False,
        "gradient_checkpointing": False,
        "packing": True,
        "max_length": PACK,
        "per_device_train_batch_size": 2,
    }
    return trl(options, rows, changes)


def trl_as_it_comes(options: argparse.Namespace, rows: list[Work]) -> dict[str, Any]:
    """TRL SFTTrainer with its own defaults: bfloat16 autocast, gradient checkpointing, padded rows."""
    return trl(options, rows, {"per_device_train_batch_size": BATCH})


def trl(options: argparse.Namespace, rows: list[Work], changes: dict[str, Any]) -> dict[str, Any]:
    """TRL over rows of token ids, loss on the answers only."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_list(
        [{"input_ids": r.items, "completion_mask": [0] * r.prompt + [1] * r.learned} for r in rows]
    )
    steps = Steps()
    arguments = SFTConfig(
        output_dir=options.folder, use_cpu=True, max_steps=options.steps, learning_rate=LR,
        lr_scheduler_type="constant", report_to="none", save_strategy="no", logging_steps=1,
        train_sampling_strategy="sequential", disable_tqdm=True, completion_only_loss=True, **changes,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=peer_net(options),
        args=arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(options.base),
    )
    trainer.data_collator = counted(trainer.data_collator, steps)
    return trained(trainer, steps, options)


def peer_net(options: argparse.Namespace) -> Any:
    """The same random model in float32, with PEFT's LoRA on every linear layer of the backbone."""
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(options.base, dtype="float32", attn_implementation="sdpa")
    if options.method == "full":
        return net
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        net, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def counted(collator: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    """The collator, noting how many real and learned tokens each batch holds."""

    def collate(features: list[dict[str, Any]]) -> Any:
        batch = collator(features)
        steps.tokens.append(sum(len(feature["input_ids"]) for feature in features))
        steps.learned.append(int((batch["labels"] != -100).sum()))
        return batch

    return collate


def trained(trainer: Any, steps: Steps, options: argparse.Namespace) -> dict[str, Any]:
    """Train, noting when each step ends."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            steps.ended.append(time.time())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                steps.losses.append(float(logs["loss"]))

    trainer.add_callback(Watch())
    trainer.train()
    return steps.facts(shape=options.shape, method=options.method, born=options.born)


def labels_tunewright(options: argparse.Namespace) -> dict[str, Any]:
    """77 labels under each message as one tree."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.engine import Engine
    from tunewright.models.tunable import open_model

    vocabulary = SHAPES[options.shape].vocabulary
    engine = Engine(open_model(ModelOptions(base=options.base)))
    endings = label_endings(vocabulary)
    return scored(
        lambda message: engine.choose([message], endings)[0], messages(options.steps, vocabulary), options.born
    )


def labels_padded(options: argparse.Namespace) -> dict[str, Any]:
    """77 padded rows under each message in one transformers batch; logits at the endings only."""
    import torch
    from transformers import AutoModelForCausalLM

    vocabulary = SHAPES[options.shape].vocabulary
    net = AutoModelForCausalLM.from_pretrained(options.base, dtype="float32", attn_implementation="sdpa").eval()
    endings = label_endings(vocabulary)
    longest = max(map(len, endings))
    padded = torch.tensor([[*ending, *[0] * (longest - len(ending))] for ending in endings])
    real = torch.tensor([[1.0] * len(ending) + [0.0] * (longest - len(ending)) for ending in endings])

    @torch.inference_mode()
    def score(message: list[int]) -> list[float]:
        rows = torch.cat([torch.tensor([message]).expand(len(endings), -1), padded], 1)
        logits = net(input_ids=rows, use_cache=False, logits_to_keep=longest + 1).logits[:, :-1]
        logp = torch.log_softmax(logits, -1).gather(2, padded[..., None])[..., 0]
        return (logp * real).sum(1).tolist()

    return scored(score, messages(options.steps, vocabulary), options.born)


def scored(score: Callable[[list[int]], list[float]], asked: list[list[int]], born: float) -> dict[str, Any]:
    """Seconds a message after the first; the first message's scores show that both do the same."""
    first = score(asked[0])
    ready = time.time()
    for message in asked[1:]:
        score(message)
    seconds = time.time() - ready
    return {
        "messages_per_second": (len(asked) - 1) / seconds,
        "first_step_seconds": ready - born,
        "seconds": seconds,
        "losses": [sum(first) / len(first)],
    }


TRAINERS = {"tunewright": tunewright, "flattening": flattening, "trl-packing": trl_packing, "trl": trl_as_it_comes}
SCORERS = {"tunewright": labels_tunewright, "padded": labels_padded}


def main() -> None:
    """Run one contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for option in ("case", "base", "shape", "out", "folder"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--micro-tokens", type=int, default=4096)
    parser.add_argument("--born", type=float, required=True)
    options = parser.parse_args()
    if options.case == "labels":
        facts = SCORERS[options.name](options)
    else:
        # packing needs a few rows more than 16 a step to fill its sequences
        rows = ROWS[options.case](BATCH * options.steps * 2, SHAPES[options.shape].vocabulary)
        facts = TRAINERS[options.name](options, rows)
    facts["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(options.out).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
