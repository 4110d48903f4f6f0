"""Configs of torchtune as recipes: components named by dotted paths."""

from __future__ import annotations

import re
from typing import Any

from tunewright.core.errors import RecipeError
from tunewright.stages import foreign_training
from tunewright.stages.foreign import Foreign, Left, base, flat, locate, number, run_name, source, switch, whole

TOOL = "torchtune"
_WORDS = {
    "lr": "optimizer.lr", "epochs": "epochs", "steps": "max_steps", "batch": "batch_size",
    "accumulation": "gradient_accumulation_steps", "schedule": "lr_scheduler._component_",
    "optimizer": "optimizer._component_",
}  # fmt: skip
_FORMATS = {
    "alpaca": "instruction", "instruct": "completion", "chat": "auto", "text_completion": "text",
    "preference": "preference",
}  # fmt: skip
_MODULES = {"q_proj", "k_proj", "v_proj", "output_proj"}


def is_one(config: dict[str, Any]) -> bool:
    """Whether the keys are this tool's."""
    return any(isinstance(value, dict) and "_component_" in value for value in config.values())


def convert(foreign: Foreign) -> None:
    """Fill the recipe's values. Its sections are read as keys with dots."""
    foreign.config = {key: _resolved(value, foreign.config) for key, value in flat(foreign.config).items()}
    if (folder := foreign.take("output_dir", "name")) is not None and (name := run_name(folder)):
        foreign.put("name", name)
    base(foreign, "checkpointer.checkpoint_dir")
    _data(foreign)
    model = str(foreign.take("model._component_", "method", ""))
    loss = str(foreign.take("loss._component_", "objective", ""))
    _method(foreign, re.sub(r".*\.", "", model))
    if "DPO" in loss:
        foreign.put("objective", {"kind": "dpo"})
        foreign.carry("loss.beta", "objective.beta", number)
        foreign.carry("loss.label_smoothing", "objective.smoothing", number)
    else:
        foreign.put("objective", "pretrain" if foreign.values["data"]["format"] == "text" else "sft")
        if switch(foreign.take("dataset.train_on_input", "objective.learn")) and foreign.values["objective"] == "sft":
            foreign.put("objective.learn", "all")
    _training(foreign)
    foreign.leave_rest([
        (r"tokenizer\..*|checkpointer\..*|model\..*", "the base's own files are used, as its folder holds them"),
        (r"metric_logger.*|profiler.*|log_.*", "every step is logged as an event; nothing is sent anywhere"),
        (r"loss\..*|dataset\..*|lr_scheduler\..*|optimizer\..*|max_steps_per_epoch", "there is no such setting here"),
        *foreign_training.REASONS,
    ])  # fmt: skip


def _method(foreign: Foreign, model: str) -> None:
    if not model.startswith(("lora_", "qlora_", "dora_", "qdora_")):
        foreign.put("method", "full")
        return
    words = {
        "rank": "model.lora_rank",
        "alpha": "model.lora_alpha",
        "dropout": "model.lora_dropout",
        "dora": "model.use_dora",
    }
    four = model.startswith(("qlora_", "qdora_")) or switch(foreign.take("model.quantize_base", "method.kind"))
    foreign_training.adapter(foreign, "qlora" if four else "lora", words, {"rank": 8, "alpha": 16.0})
    modules = foreign.take("model.lora_attn_modules", "method.targets")
    wide = switch(foreign.take("model.apply_lora_to_mlp", "method.targets"))
    if isinstance(modules, list) and not (wide and set(modules) == _MODULES):
        targets = ["o_proj" if one == "output_proj" else str(one) for one in modules]
        foreign.put("method.targets", [*targets, "gate_proj", "up_proj", "down_proj"] if wide else targets)
    wanted = switch(foreign.config.get("model.apply_lora_to_output"))
    foreign.leave("model.apply_lora_to_output", "the vocabulary head stays frozen", "warning" if wanted else "info")


def _training(foreign: Foreign) -> None:
    schedule = str(foreign.config.get(_WORDS["schedule"], ""))
    if schedule:  # a dotted path, whose last word says it
        foreign.config[_WORDS["schedule"]] = next(
            (word for word in ("cosine", "linear", "constant") if word in schedule), schedule
        )
    optimizer = str(foreign.config.get(_WORDS["optimizer"], ""))
    if optimizer:
        foreign.config[_WORDS["optimizer"]] = re.sub(r".*\.(Paged)?(AdamW)(8bit)?", r"adamw_\3", optimizer).rstrip("_")
    foreign_training.training(foreign, _WORDS, {"batch": 1})
    foreign.carry("optimizer.weight_decay", "train.weight_decay", number)
    foreign.carry("clip_grad_norm", "train.clip", number)
    foreign.carry("tokenizer.max_seq_len", "train.max_tokens", whole)
    if foreign.config.get("lr_scheduler.num_warmup_steps") is not None:
        foreign.leave(
            "lr_scheduler.num_warmup_steps", "a share of the steps is needed here: set train.warmup", "warning"
        )


def _data(foreign: Foreign) -> None:
    component = str(foreign.take("dataset._component_", "data.format", ""))
    word = re.sub(r".*\.", "", component).removesuffix("_dataset").removesuffix("_cleaned")
    foreign.put("data.format", _FORMATS.get(word, "auto"))
    files, name = foreign.take("dataset.data_files", "data.sources"), foreign.take("dataset.source", "data.sources")
    split = foreign.take("dataset.split", "data.sources")
    if name is None and files is None and word == "alpaca":
        name = "tatsu-lab/alpaca"
    if name is None and files is None:
        raise RecipeError(
            f"{foreign.path}: dataset '{component}' names no source. Give dataset.source, then convert again."
        )
    if files:
        found = [source(str(one), foreign.path) for one in (files if isinstance(files, list) else [files])]
    else:
        found = [source(str(name), foreign.path, split=None if locate(str(name), foreign.path) else split)]
    foreign.put("data.sources", found)
    fields = {}
    for key in [key for key in foreign.config if key.startswith("dataset.column_map.")]:
        ours = {"input": "prompt", "output": "completion"}.get(key.rpartition(".")[2], key.rpartition(".")[2])
        fields[ours] = str(foreign.take(key, "data.fields"))
    if fields:
        foreign.put("data.fields", fields)
    if (column := foreign.take("dataset.conversation_column", "data.fields")) not in (
        None,
        "messages",
        "conversations",
    ):
        foreign.put("data.fields", {"messages": str(column)})
    if "dataset.conversation_style" in foreign.config:
        foreign.take("dataset.conversation_style", "data.format")
    if foreign.config.get("dataset.new_system_prompt") is not None:
        foreign.carry("dataset.new_system_prompt", "data.system", lambda value, key: str(value))
    if "dataset_val._component_" in foreign.config:
        foreign.left["dataset_val"] = Left("give the file in data.validation", "warning")


def _resolved(value: Any, config: dict[str, Any]) -> Any:
    """A value in which ${key} stands for another key of the config."""
    if not isinstance(value, str):
        return value
    return re.sub(r"\$\{(\w+)\}", lambda found: str(config.get(found.group(1), found.group())), value)
