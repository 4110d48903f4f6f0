"""Contenders that train: each takes optimizer steps over the same rows in turns."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from turns import Turns
from workload import BATCH, RANK, ROWS, SHAPES, Work, needed_flops

LR = 1e-4
PACK = 1024  # length of TRL's packed sequences; two of them hold about as many tokens as 16 rows


def rows_of(options: argparse.Namespace) -> list[Work]:
    """The rows of a case; packing needs a few more than 16 a step to fill its sequences."""
    return ROWS[options.case](BATCH * options.units * 2, SHAPES[options.shape].vocabulary)


def amounts(options: argparse.Namespace, tokens: int, learned: int, computed: int | None = None) -> dict[str, float]:
    """What a step did. computed: its tokens where shared beginnings count once, if that is what was computed."""
    flops = needed_flops(SHAPES[options.shape], options.method, computed or tokens, learned)
    return {"tokens": tokens, "flops": flops}


def tunewright(options: argparse.Namespace, turns: Turns) -> None:
    """Forest batches through the product's own optimizer step."""
    from tunewright.core import catalog
    from tunewright.core.recipe import TrainOptions
    from tunewright.training.step import Stepper

    model, units, micro_tokens = ours(options)
    method = catalog.build("methods", {"kind": "lora", "rank": RANK} if options.method == "lora" else "full")
    method.attach(model.net)
    train = TrainOptions(lr=LR, micro_tokens=micro_tokens)
    stepper = Stepper(model, method, catalog.build("objectives", "sft"), train)
    for step in range(options.units):
        with turns.unit() as done:
            result = stepper.take(units[step * BATCH : (step + 1) * BATCH], factor=1.0, seed=step)
            done.update(amounts(options, result.tokens, int(result.learned_tokens), result.forest_tokens))
        turns.check.setdefault("first loss", [result.loss])


def ours(options: argparse.Namespace) -> tuple[Any, list[Any], int]:
    """The opened base, the rows as units of the product, and the micro-batch it would choose."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.forest import Row
    from tunewright.models.opening import open_model
    from tunewright.stages.defaults import MICRO_TOKENS

    rows = rows_of(options)
    units = [[Row(r.items, [0.0] * r.prompt + [1.0] * r.learned, str(n))] for n, r in enumerate(rows)]
    return open_model(ModelOptions(base=options.base)), units, options.micro_tokens or MICRO_TOKENS["cpu"]


def evaluation(options: argparse.Namespace, turns: Turns) -> None:
    """The validation loss of the product, as before the first step of a training."""
    from tunewright.core import catalog
    from tunewright.training.step import validation_loss

    model, units, micro_tokens = ours(options)
    objective = catalog.build("objectives", "sft")
    looked = units[: 4 * BATCH]
    for _ in range(options.units):
        with turns.unit() as done:
            loss = validation_loss(model, objective, looked, micro_tokens=micro_tokens, poll=lambda: None)
            done["tokens"] = sum(len(row.items) for unit in looked for row in unit)
        turns.check["loss"] = [loss]


def flattening(options: argparse.Namespace, turns: Turns) -> None:
    """transformers Trainer, PEFT, padding-free collator, float32, SDPA with the block mask that positions imply."""
    trainer, counts = plain_trainer(options)
    train(trainer, counts, options, turns)


def padded(options: argparse.Namespace, turns: Turns) -> None:
    """The same trainer over padded batches."""
    trainer, counts = plain_trainer(options, pad=True)
    train(trainer, counts, options, turns)


def flattening_evaluation(options: argparse.Namespace, turns: Turns) -> None:
    """The same trainer's evaluation over the same rows."""
    trainer, counts = plain_trainer(options)
    for _ in range(options.units):
        with turns.unit() as done:
            loss = trainer.evaluate()["eval_loss"]
            done["tokens"] = sum(tokens for tokens, _ in counts[-4:])
        turns.check["loss"] = [loss]


def plain_trainer(options: argparse.Namespace, *, pad: bool = False) -> tuple[Any, list[tuple[int, int]]]:
    """The trainer, and the tokens and learned tokens of each batch."""
    from datasets import Dataset
    from transformers import (
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        DataCollatorWithFlattening,
        Trainer,
        TrainingArguments,
    )

    rows = [{"input_ids": r.items, "labels": [-100] * r.prompt + r.items[r.prompt :]} for r in rows_of(options)]
    counts: list[tuple[int, int]] = []
    collator: Any = DataCollatorWithFlattening()
    if pad:
        collator = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(options.base))
    arguments = TrainingArguments(
        output_dir=options.folder, use_cpu=True, per_device_train_batch_size=BATCH, per_device_eval_batch_size=BATCH,
        max_steps=options.units, learning_rate=LR, lr_scheduler_type="constant", report_to="none", save_strategy="no",
        logging_steps=1, train_sampling_strategy="sequential", disable_tqdm=True, remove_unused_columns=False,
        prediction_loss_only=True,
    )  # fmt: skip
    trainer = Trainer(
        model=peer_net(options), args=arguments, train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[: 4 * BATCH]), data_collator=counted(collator, counts),
    )  # fmt: skip
    return trainer, counts


def trl_packing(options: argparse.Namespace, turns: Turns) -> None:
    """TRL SFTTrainer in float32 with packing and without gradient checkpointing: its fastest setting here."""
    changes = {
        "bf16": False,
        "gradient_checkpointing": False,
        "packing": True,
        "max_length": PACK,
        "per_device_train_batch_size": 2,
    }
    trl(options, turns, changes)


def trl_as_it_comes(options: argparse.Namespace, turns: Turns) -> None:
    """TRL SFTTrainer with its own defaults: bfloat16 autocast, gradient checkpointing, padded rows."""
    trl(options, turns, {"per_device_train_batch_size": BATCH})


def trl(options: argparse.Namespace, turns: Turns, changes: dict[str, Any]) -> None:
    """TRL over rows of token ids, loss on the answers only."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": r.items, "completion_mask": [0] * r.prompt + [1] * r.learned} for r in rows_of(options)]
    counts: list[tuple[int, int]] = []
    arguments = SFTConfig(
        output_dir=options.folder, use_cpu=True, max_steps=options.units, learning_rate=LR,
        lr_scheduler_type="constant", report_to="none", save_strategy="no", logging_steps=1,
        train_sampling_strategy="sequential", disable_tqdm=True, completion_only_loss=True, **changes,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=peer_net(options),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(options.base),
    )
    trainer.data_collator = counted(trainer.data_collator, counts)
    train(trainer, counts, options, turns)
    if changes.get("packing"):
        turns.check.clear()  # packing puts other rows first


def peer_net(options: argparse.Namespace) -> Any:
    """The same random model in float32, with PEFT's LoRA on every linear layer of the backbone."""
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(options.base, dtype="float32", attn_implementation="sdpa")
    if options.method == "full":
        return net
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(net, lora)


def counted(collator: Callable[..., Any], counts: list[tuple[int, int]]) -> Callable[..., Any]:
    """The collator, noting how many real and learned tokens each batch holds."""

    def collate(features: list[dict[str, Any]]) -> Any:
        batch = collator(features)
        counts.append((sum(len(f["input_ids"]) for f in features), int((batch["labels"] != -100).sum())))
        return batch

    return collate


def train(
    trainer: Any, counts: list[tuple[int, int]], options: argparse.Namespace, turns: Turns, *, micro_batches: int = 1
) -> None:
    """Train in turns. The trainer fetches batches ahead, so a step's counts are found by its number."""
    from transformers import TrainerCallback

    def held(step: int) -> tuple[int, int]:
        batches = counts[(step - 1) * micro_batches : step * micro_batches]
        return sum(tokens for tokens, _ in batches), sum(learned for _, learned in batches)

    class Watch(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            turns.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            turns.end(amounts(options, *held(state.global_step)))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                turns.check.setdefault("first loss", [float(logs["loss"])])

    trainer.add_callback(Watch())
    trainer.train()
