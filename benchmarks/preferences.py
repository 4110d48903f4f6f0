"""Contenders that learn from pairs with DPO. A unit is an optimizer step on 16 pairs with its share of the reference
pass: the reference's log-probs of these pairs are computed in it, as both libraries do once before an epoch.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from turns import Turns
from workload import BATCH, RANK, SHAPES, PairWork, needed_flops, preference_pairs, reference_flops

LR = 5e-4
BETA = 0.1


def steps_of(options: argparse.Namespace) -> list[list[PairWork]]:
    """The pairs of each step. The first two see the same ones, so that the second loss tells what the first learned."""
    pairs = preference_pairs(BATCH * options.units, SHAPES[options.shape].vocabulary)
    steps = [pairs[at : at + BATCH] for at in range(0, len(pairs), BATCH)]
    return [steps[0], *steps][: options.units]


def start(parameters: list[Any]) -> None:
    """Give every contender's adapters the same start: their A matrices in the order of the layers."""
    import torch

    draw = np.random.default_rng(17)
    with torch.no_grad():
        for parameter in parameters:
            values = draw.uniform(-1, 1, parameter.shape) / np.sqrt(parameter.shape[1])
            parameter.copy_(torch.from_numpy(values))


def amounts(options: argparse.Namespace, pairs: list[PairWork], computed: int | None = None) -> dict[str, float]:
    """What a unit did. computed: tokens of the step where shared beginnings count once, if that is what was computed;
    the reference then computed as many.
    """
    shape = SHAPES[options.shape]
    tokens = sum(2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs)
    learned = sum(len(pair.chosen) + len(pair.rejected) for pair in pairs)
    flops = needed_flops(shape, "lora", computed or tokens, learned)
    return {"tokens": tokens, "flops": flops + reference_flops(shape, computed or tokens, learned)}


def tunewright(options: argparse.Namespace, turns: Turns) -> None:
    """Forests in which both answers share their prompt, through the product's own reference and optimizer step."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions, TrainOptions
    from tunewright.models.forest import Row
    from tunewright.models.opening import open_model
    from tunewright.models.reference import Reference
    from tunewright.stages.defaults import MICRO_TOKENS
    from tunewright.training.step import Stepper

    model = open_model(ModelOptions(base=options.base))
    method = catalog.build("methods", {"kind": "lora", "rank": RANK})
    method.attach(model.net)
    start([p for name, p in model.net.named_parameters() if ".A." in name])
    micro_tokens = options.micro_tokens or MICRO_TOKENS["cpu"]
    model.reference = Reference(model, method, lambda: open_model(ModelOptions(base=options.base)))
    objective = catalog.build("objectives", {"kind": "dpo", "beta": BETA})
    stepper = Stepper(model, method, objective, TrainOptions(lr=LR, micro_tokens=micro_tokens, weight_decay=0.0))
    for number, pairs in enumerate(steps_of(options)):
        units = [
            [
                Row([*pair.prompt, *answer], [0.0] * len(pair.prompt) + [1.0] * len(answer), f"{number}:{n}", slot=slot)
                for slot, answer in enumerate((pair.chosen, pair.rejected))
            ]
            for n, pair in enumerate(pairs)
        ]
        with turns.unit() as done:
            model.reference.compute(units, micro_tokens=micro_tokens, untouched=False)
            result = stepper.take(units, factor=1.0, seed=number)
            done.update(amounts(options, pairs, result.forest_tokens))
        turns.check.setdefault("losses", []).append(result.loss)
    del turns.check["losses"][2:]


def trl_padded(options: argparse.Namespace, turns: Turns) -> None:
    """TRL DPOTrainer, float32, PEFT, reference log-probs computed ahead, 16 pairs in one padded batch."""
    trl_in_parts(options, turns, parts=1)


def trl_accumulating(options: argparse.Namespace, turns: Turns) -> None:
    """The same, four batches of four pairs a step: less padding and memory."""
    trl_in_parts(options, turns, parts=4)


def trl_in_parts(options: argparse.Namespace, turns: Turns, *, parts: int) -> None:
    """TRL over token ids. Its own `compute_ref_log_probs` is called for each batch right before that batch's step."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class AskedInTurns(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *given: Any, **more: Any) -> Any:
            return dataset  # these are token ids already

        def _precompute_ref_logps(self, dataset: Any, *given: Any, **more: Any) -> Any:
            return dataset  # asked below, in the unit that uses it

        def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
            chosen, rejected = self.compute_ref_log_probs(model, inputs)
            inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
            return super()._compute_loss(model, inputs, return_outputs)

    steps = steps_of(options)
    rows = [
        {"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
        for pairs in steps
        for pair in pairs
    ]
    arguments = DPOConfig(
        output_dir=options.folder, use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=options.units,
        per_device_train_batch_size=BATCH // parts, gradient_accumulation_steps=parts, learning_rate=LR, beta=BETA,
        lr_scheduler_type="constant", report_to="none", save_strategy="no", logging_steps=1, max_length=None,
        train_sampling_strategy="sequential", disable_tqdm=True, precompute_ref_log_probs=True,
    )  # fmt: skip
    trainer = AskedInTurns(
        model=AutoModelForCausalLM.from_pretrained(options.base, dtype="float32", attn_implementation="sdpa"),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(options.base),
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    start([p for name, p in trainer.model.named_parameters() if "lora_A" in name])

    class Watch(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            turns.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            turns.end(amounts(options, steps[state.global_step - 1]))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs and state.global_step <= 2:
                turns.check.setdefault("losses", []).append(float(logs["loss"]))

    trainer.add_callback(Watch())
    trainer.train()
